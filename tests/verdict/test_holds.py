"""Whether quality holds: against the definition, on made-up losses, and on the shipped baselines at 64 and 256."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from harness.case import Case
from harness.holding import NO, UNDECIDED, YES
from harness.measurement import Measurement
from harness.metrics import METRICS
from harness.record import Record
from harness.results import Result, Results
from harness.verdict.dropoff import margins
from harness.verdict.holds import holding, with_holding
from harness.verdict.repository import Repository
from tests.verdict.made_up import record

ROOT = Path(__file__).parents[2]
CLIP = {"clip": 0.5}


def lost(losses: list[float], name: str = "clip", case: Case | None = None) -> tuple[Record, Record]:
    """Return a dense record and one that has lost so much at every caption."""
    dense = record(Case("scenes"))
    pruned = record(case) if case else record()
    sign = -1 if METRICS[name].worse_by(1) < 0 else 1
    before = [50.0] * len(losses)
    after = [50.0 + sign * loss for loss in losses]
    pair = []
    for one, values in ((dense, before), (pruned, after)):
        figure = Measurement(sum(values) / len(values), 0.1, len(values))
        pair.append(replace(one, quality=one.quality | {name: figure}, paired=one.paired | {name: values}))
    return pair[0], pair[1]


@pytest.mark.parametrize(("mean", "spread"), [(0.1, 0.5), (0.3, 2.0), (0.45, 0.5), (0.9, 0.5), (0.6, 2.0), (3.0, 2.0)])
def test_the_answer_is_that_of_a_t_test_against_the_budget(mean: float, spread: float) -> None:
    rng = random.Random(1)
    losses = [rng.gauss(mean, spread) for _ in range(64)]
    held = holding(*lost(losses), CLIP)
    below = stats.ttest_1samp(losses, 0.5, alternative="less").pvalue
    above = stats.ttest_1samp(losses, 0.5, alternative="greater").pvalue
    assert held is not None
    assert held.answer == (YES if below < 0.05 else NO if above < 0.05 else UNDECIDED)
    (loss,) = held.losses
    assert loss.value == pytest.approx(sum(losses) / 64) and loss.se == pytest.approx(stats.sem(losses))


def test_the_captions_that_would_decide_do_so_in_four_of_five_runs() -> None:
    """Control: draw as many captions as the answer names, from the same losses, and ask again."""
    rng = random.Random(2)
    drawn = [rng.gauss(0.0, 2.0) for _ in range(64)]
    losses = [0.2 + loss - sum(drawn) / 64 for loss in drawn]
    held = holding(*lost(losses), CLIP)
    assert held is not None and held.answer == UNDECIDED and held.captions > 64
    again = [holding(*lost(rng.choices(losses, k=held.captions)), CLIP) for _ in range(200)]
    assert 0.70 < sum(one is not None and one.answer == YES for one in again) / 200 < 0.90


def test_a_wrong_yes_is_rare() -> None:
    """Control: losses whose true mean is the budget. Few may be called inside, and few outside."""
    rng = random.Random(3)
    answers = [holding(*lost([rng.gauss(0.5, 1.0) for _ in range(64)]), CLIP) for _ in range(400)]
    counted = [one.answer for one in answers if one is not None]
    assert counted.count(YES) / 400 < 0.08 and counted.count(NO) / 400 < 0.08


def test_one_metric_outside_is_no_and_one_open_is_undecided() -> None:
    dense, pruned = lost([0.0] * 64)
    budget = {"clip": 0.5, "fid": 2.0}
    answers = []
    for worse in (0.0, 1.99, 9.0):
        figure = replace(pruned.quality["fid"], value=dense.quality["fid"].value + worse)
        paired = [value + worse + (-1) ** i for i, value in enumerate(dense.paired["fid"])]
        moved = replace(pruned, quality=pruned.quality | {"fid": figure}, paired=pruned.paired | {"fid": paired})
        held = holding(dense, moved, budget)
        assert held is not None and [loss.metric for loss in held.losses] == ["fid", "clip"]
        answers.append(held.answer)
    assert answers == [YES, UNDECIDED, NO]


def test_shares_without_a_change_are_not_certain() -> None:
    """As in 64 of 64 captions, a loss of 0 says only that the true one is small: three in 64 may be lost elsewhere."""
    dense, pruned = lost([0.0] * 64, "composition")
    narrow, wide = (holding(dense, pruned, {"composition": limit}) for limit in (0.02, 0.05))
    assert narrow is not None and narrow.answer == UNDECIDED and narrow.losses[0].se > 0
    assert wide is not None and wide.answer == YES


def test_few_captions_never_say_yes() -> None:
    few, enough = (holding(*lost([0.0] * n), CLIP) for n in (16, 32))
    assert few is not None and (few.answer, few.captions) == (UNDECIDED, 32)
    assert enough is not None and enough.answer == YES
    worse = holding(*lost([9.0 + i % 2 for i in range(16)]), CLIP)
    assert worse is not None and worse.answer == NO


def test_without_a_measured_metric_and_for_the_dense_model_there_is_no_answer() -> None:
    dense, pruned = lost([0.0] * 64)
    assert holding(dense, pruned, {"ssim": 0.1}) is None and holding(dense, dense, CLIP) is None


def test_how_far_quality_holds_on_a_curve() -> None:
    cases = [Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.2, 0.4, 0.6)]
    pair = Case("scenes", "both", "magnitude", "all", (0.4, 0.3))
    results, dense = [], None
    for case, loss in zip([*cases, pair], (0.1, 0.2, 5.0, 0.0), strict=True):
        dense, pruned = lost([loss + i % 2 / 10 for i in range(64)], case=case if case is not pair else cases[0])
        pruned = replace(pruned, case=case)
        results.append(Result(pruned, "PASS", holding=holding(dense, pruned, CLIP)))
    assert dense is not None
    done = with_holding(Results(tuple(results), dense={"scenes": dense}), CLIP)
    (held,) = done.held
    assert (held.curve, held.last, held.low, held.high) == ("scenes-unet-magnitude-all", 0.4, 0.4, 0.4)
    assert done.budget == CLIP
    assert with_holding(replace(done, cases=done.cases[:2]), CLIP).held == ()


def shipped(n: int) -> Iterator[tuple[str, str]]:
    """Yield (id, answer) of the shipped baselines with n captions, magnitude and SparseGPT."""
    from harness.case import Case as Made

    repository = Repository.open(ROOT / "baselines.json")
    plain = next(facts for facts in repository.baselines.workloads.values() if facts.n == n and not facts.calibration)
    entry = next(e for e in repository.entries(Made("scenes")) if e.workload == plain.key)
    stack = repository.baselines.stacks[entry.stack]
    dense = repository.find(Made("scenes"), plain.key, stack)
    assert dense is not None
    for component in ("unet", "text_encoder"):
        for method in ("magnitude", "sparsegpt"):
            for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
                case = Made("scenes", component, method, "all", (level,))
                keys = {e.workload for e in repository.entries(case)}
                (key,) = (k for k in keys if repository.baselines.workloads[k].n == n)
                baseline = repository.find(case, key, stack)
                assert baseline is not None
                held = holding(dense, baseline, margins())
                assert held is not None
                yield case.id, held.answer


def test_captions_of_the_shipped_model_decide_alike() -> None:
    """Control: what 64 captions decide, the same 64 and 192 more decide in the same way."""
    first, second = dict(shipped(64)), dict(shipped(256))
    both = [(first[case], second[case]) for case in first if UNDECIDED not in (first[case], second[case])]
    assert len(both) > 20 and {YES, NO} == {one for one, _ in both}
    assert all(one == other for one, other in both)
    assert first["scenes-unet-magnitude-all-0.90"] == NO and first["scenes-unet-magnitude-all-0.20"] == YES
