"""Claims hold on the records they were made of, and are refuted by others."""

from __future__ import annotations

import random
from dataclasses import replace

from benchmarks.claims import claims
from harness.case import Case
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.claims import better, threshold

DENSE = Case("scenes")
CURVE = tuple(Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.2, 0.4, 0.6, 0.8))


def record(case: Case, lost: float) -> Record:
    rng = random.Random(0)
    clip = [rng.uniform(85, 95) - lost for _ in range(64)]
    quality = {"fid": Measurement(18.0, 1.0, 64), "clip": Measurement(sum(clip) / 64, 1.0, 64)}
    resampled = {"fid": [18.0 + i / 10 for i in range(100)]}
    return Record(
        case.id, "w", {}, case.requested, quality, {}, 0, {}, None, "", per_caption={"clip": clip}, resampled=resampled
    )


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
    scattered = [score + rng.gauss(-0.05, 3.0) for score in worse.per_caption["clip"]]
    mean = Measurement(sum(scattered) / 64, 1.0, 64)
    noisy = replace(worse, per_caption={"clip": scattered}, quality=worse.quality | {"clip": mean})
    assert abs(noisy.quality["clip"].value - worse.quality["clip"].value) < 1
    assert "not beyond chance" in claim.holds({first: replace(worse, case=first.id), second: noisy})


def test_names_are_unique_and_say_what_to_type() -> None:
    names = [claim.name for claim in claims("scenes")]
    assert len(set(names)) == len(names)
    assert {"threshold-unet-magnitude", "threshold-text_encoder-magnitude"} <= set(names)
