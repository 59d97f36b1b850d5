"""Claims hold on the records they were made of, and are refuted by others."""

from __future__ import annotations

import random
from dataclasses import replace

from benchmarks.claims import claims
from harness.case import Case
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.claims import Claim, Records, better, threshold
from tests.verdict import made_up

DENSE = Case("scenes")
CURVE = tuple(Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.2, 0.4, 0.6, 0.8))


def record(case: Case, lost: float) -> Record:
    """Return a record whose CLIP score is so much below that of 64 scattered captions."""
    rng = random.Random(0)
    clip = [rng.uniform(85, 95) - lost for _ in range(64)]
    quality = {"fid": Measurement(18.0, 1.0, 64), "clip": Measurement(sum(clip) / 64, 1.0, 64)}
    paired = {"fid": [18.0 + i / 10 for i in range(100)], "clip": clip}
    return replace(made_up.record(case), quality=quality, paired=paired)


def curve(*lost: float) -> dict[Case, Record]:
    return {DENSE: record(DENSE, 0.0)} | {case: record(case, x) for case, x in zip(CURVE, lost, strict=True)}


def test_a_threshold_that_moves_is_refuted() -> None:
    claim = threshold("t", "here", (DENSE, *CURVE), 0.4)
    assert claim.holds(curve(0.1, 0.3, 2.0, 20.0)) == ""
    assert "holds up to 0.2 " in claim.holds(curve(0.1, 0.7, 2.0, 20.0))
    assert "holds up to 0.6 " in claim.holds(curve(0.1, 0.3, 0.4, 20.0))


def test_better_wants_more_than_chance() -> None:
    first, second = CURVE[:2]
    claim = better("b", "here", first, second)
    worse = record(second, 0.5)
    assert claim.holds({first: record(first, 0.0), second: worse}) == ""
    assert "not beyond chance" in claim.holds({first: worse, second: record(second, 0.0)})
    rng = random.Random(1)
    scattered = [score + rng.gauss(-0.05, 3.0) for score in worse.paired["clip"]]
    mean = Measurement(sum(scattered) / 64, 1.0, 64)
    noisy = replace(worse, paired=worse.paired | {"clip": scattered}, quality=worse.quality | {"clip": mean})
    assert abs(noisy.quality["clip"].value - worse.quality["clip"].value) < 1
    assert "not beyond chance" in claim.holds({first: replace(worse, case=first), second: noisy})


def test_better_knows_the_direction_of_the_metric() -> None:
    first, second = CURVE[:2]
    claim = better("b", "here", first, second, metric="fid")
    near, far = record(first, 0.0), record(second, 0.0)
    far = replace(
        far, quality=far.quality | {"fid": Measurement(30.0, 1.0, 64)},
        paired=far.paired | {"fid": [30.0 + i / 10 for i in range(100)]},
    )  # fmt: skip
    assert claim.holds({first: near, second: far}) == ""
    assert "fid of" in claim.holds({first: far, second: near})


def test_a_claim_of_the_users_model_is_red_where_it_held_before() -> None:
    def holds(records: Records) -> str:
        return "it is worse" if records is now else ""

    now, before = {DENSE: record(DENSE, 0.0)}, {DENSE: record(DENSE, 1.0)}
    claim = Claim("c", "here", (DENSE, *CURVE), holds)
    assert claim.judged(before, None) == (f"{'c':<46} holds (here)", False)
    assert claim.judged(now, before) == (f"{'c':<46} REFUTED, held before: it is worse (here)", True)
    assert claim.judged(now, None)[1] is False and "no baselines of all its cases" in claim.judged(now, None)[0]
    always = replace(claim, holds=lambda records: "it is worse")
    assert always.judged(now, before) == (f"{'c':<46} REFUTED, as before: it is worse (here)", False)


def test_names_are_unique_and_say_what_to_type() -> None:
    names = [claim.name for claim in claims("scenes")]
    assert len(set(names)) == len(names)
    assert {"threshold-unet-magnitude", "threshold-text_encoder-magnitude"} <= set(names)
