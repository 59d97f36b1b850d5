"""The decision rule against tables, simulation and arithmetic."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.matrix import quality_cases
from harness.errors import HarnessError
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.baselines import load
from harness.verdict.compare import compare, failed, lines
from harness.verdict.statistics import COMPARISONS, decide, difference, p_value, shaky, tail
from harness.verdict.tolerances import TOLERANCES, noise, tolerance

SHIPPED = load(Path(__file__).parents[2] / "baselines.json")


# Upper tail points of Student's t, from the printed tables.
@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [
        (12.706, 1, 0.025),
        (2.228, 10, 0.025),
        (3.169, 10, 0.005),
        (1.671, 60, 0.05),
        (3.460, 60, 0.0005),
        (0.0, 7, 0.5),
        (-2.228, 10, 0.975),
    ],
)
def test_tail_is_that_of_the_tables(t: float, degrees: int, p: float) -> None:
    assert tail(t, degrees) == pytest.approx(p, rel=2e-3)


def test_tail_far_out_keeps_its_digits() -> None:
    # With two degrees of freedom the tail is known: (1 - t / √(2 + t²)) / 2.
    for t in (5.0, 50.0):
        assert tail(t, 2) == pytest.approx((1 - t / (2 + t * t) ** 0.5) / 2, rel=1e-6)


def test_verdicts() -> None:
    rule = {"noise": 0.0, "tolerance": 1.0, "alpha": 0.001, "n": 64}
    assert decide(2.0, 0.1, **rule) == "REGRESSION"
    assert decide(-2.0, 0.1, **rule) == "IMPROVED"
    assert decide(0.9, 0.1, **rule) == "PASS"
    assert decide(2.0, 0.8, **rule) == "UNDERPOWERED"  # large, but may be chance
    assert decide(0.0, 0.3, **rule) == "UNDERPOWERED"  # a change of 1 would go unseen
    assert decide(2.0, 0.0, **rule) == "REGRESSION"
    assert decide(2.0, 0.1, **(rule | {"noise": 1.0})) == "UNDERPOWERED"


def test_false_alarms_are_as_rare_as_alpha_says() -> None:
    rng = random.Random(1)
    alarms = 0
    for _ in range(400):
        changes = [rng.gauss(1.0, 2.0) for _ in range(20)]  # the change is the tolerance itself
        average = sum(changes) / 20
        se = (sum((c - average) ** 2 for c in changes) / 19 / 20) ** 0.5
        alarms += decide(average, se, 0.0, 1.0, 0.05, 20) == "REGRESSION"
    # A change of just the tolerance measures below it half the time.
    assert 100 < alarms < 210
    calm = 0
    for _ in range(400):
        changes = [rng.gauss(0.0, 2.0) for _ in range(20)]
        average = sum(changes) / 20
        se = (sum((c - average) ** 2 for c in changes) / 19 / 20) ** 0.5
        calm += decide(average, se, 0.0, 0.0, 0.05, 20) == "REGRESSION"
    assert 8 < calm < 34


def record(
    clip: list[float], case: str = "scenes-unet-magnitude-all-0.50", keep: str = "a" * 64, zeros: int = 5
) -> Record:
    n = len(clip)
    quality = {
        "fid": Measurement(10.0, 1.0, n),
        "clip": Measurement(sum(clip) / n, 1.0, n),
        "composition": Measurement(0.5, 0.1, n),
        "fid_dense": Measurement(5.0, 1.0, n),
        "drift": Measurement(1.0, 0.1, n),
    }
    counts = {"parameters": 20, "targeted": 10, "zeros": zeros, "sparsity_targeted": zeros / 10}
    exact = {"keep": keep, "components": {"unet": counts}, "rounding": {"unet": 0.06}}
    return Record(
        case, "workload", exact, {"unet": 0.5}, quality, {}, 0, {}, None, "",
        per_caption={"clip": clip, "composition": [0.0, 1.0] * (n // 2), "drift": [1.0] * n},
        resampled={name: [10.0 + i / 10 for i in range(8)] for name in ("fid", "fid_dense")},
    )  # fmt: skip


def test_pairing_sees_what_means_hide() -> None:
    scores = [random.Random(i).uniform(40, 90) for i in range(64)]
    change = difference("clip", record(scores), record([s - 0.5 for s in scores]))
    assert change.value == pytest.approx(-0.5) and change.se == pytest.approx(0, abs=1e-9)
    assert difference("fid", record(scores), record(scores)).se == 0


def test_comparison() -> None:
    scores = [random.Random(i).uniform(40, 90) for i in range(64)]
    same, lower = record(scores), record([s - 1 for s in scores])
    assert [r.verdict for r in compare([same], [same])] == ["PASS"]
    rows = compare([same], [lower])
    assert (rows[0].verdict, rows[0].decided_by, rows[0].masks) == ("REGRESSION", "CLIP score", "same")
    assert failed(rows) and "-1.000 ± 0.000" in lines(rows, markdown=True)[2]
    assert [r.verdict for r in compare([lower], [same])] == ["IMPROVED"] and not failed(compare([lower], [same]))
    gone = compare([same, replace(same, case="scenes-unet-magnitude-all-0.60")], [same])
    assert [r.verdict for r in gone] == ["PASS", "MISSING"] and failed(gone)
    other = compare([same], [replace(same, workload="other")])
    assert other[0].verdict == "NOT COMPARED" and failed(other)
    assert not failed(compare([], [same]))


def test_facts_decide_before_figures() -> None:
    scores = [50.0, 60.0, 70.0, 80.0]
    for other, masks in ((record(scores, keep="b" * 64), "differ"), (record(scores, zeros=6), "same")):
        row = compare([record(scores)], [other])[0]
        assert (row.verdict, row.decided_by, row.masks) == ("REGRESSION", "exact", masks)
    row = compare([record(scores)], [replace(record(scores), degenerate=3)])[0]
    assert (row.verdict, row.decided_by) == ("REGRESSION", "degenerate")
    sketch = "0" * 1024
    row = compare([record(scores, keep=sketch)], [record(scores, keep="1" + sketch[1:])])[0]
    assert row.verdict == "PASS" and row.masks == "0.02% differ"


def test_underpowered_stops_ci_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    scores = [rng.uniform(40, 90) for _ in range(64)]
    rows = compare([record(scores)], [record([s + rng.gauss(0, 5) for s in scores])])
    assert rows[0].verdict == "UNDERPOWERED"
    monkeypatch.delenv("CI", raising=False)
    assert not failed(rows)
    monkeypatch.setenv("CI", "1")
    assert failed(rows)


def test_runs_without_paired_values_are_refused() -> None:
    old = replace(record([1.0, 2.0]), per_caption={})
    with pytest.raises(HarnessError, match="measure both runs"):
        compare([old], [record([1.0, 2.0])])


def test_stored_tolerances_are_those_of_the_rule_and_above_the_noise() -> None:
    for case, by_workload in SHIPPED.cases.items():
        for entry in by_workload.values():
            quality = {name: Measurement(q["value"], q["se"], q["n"]) for name, q in entry["quality"].items()}
            record = cast(Record, SimpleNamespace(case=case, quality=quality))
            for name, stored in entry["quality"].items():
                assert stored["tolerance"] == tolerance(name, record)
                assert stored["tolerance"] >= 3 * stored["sigma_aa"]
                assert "noise" in entry or stored["sigma_aa"] == round(noise(name, record), 6)


def test_solved_weights_have_tolerances_that_grow_with_the_standard_error() -> None:
    found = {}
    for method in ("dense", "magnitude", "wanda", "owl_wanda", "sparsegpt", "owl_sparsegpt"):
        quality = {"fid": Measurement(20, 4, 64), "composition": Measurement(0.5, 0.06, 64)}
        record = cast(Record, SimpleNamespace(case=f"scenes-unet-{method}-all-0.80", quality=quality))
        found[method] = tolerance("fid", record), tolerance("composition", record)
    assert found.pop("sparsegpt") == found.pop("owl_sparsegpt") == (1.0, 0.0547)
    assert set(found.values()) == {(0.02, 0.02)}


def test_the_number_of_comparisons_is_that_of_the_full_tier() -> None:
    metrics = TOLERANCES.keys() - {"kid"}  # only pipelines of the user's have one
    assert len(quality_cases("scenes", "full")) * len(metrics) * 2 == COMPARISONS


def test_means_that_hide_movement_are_shaky() -> None:
    assert not shaky(0.0, 2e-4, 0.02) and not shaky(0.007, 0.0, 0.02)
    assert shaky(0.009, 0.0, 0.02) and shaky(0.0, 0.009, 0.02)
    assert p_value(0.5, 0.0, 0.0, 64) == 0 and p_value(0.0, 1.0, 0.0, 64) == pytest.approx(0.5)
