"""Two runs, case by case."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.holding import Holding, Loss
from harness.measurement import Measurement
from harness.metrics import METRICS
from harness.record import Record
from harness.results import LatencyResult, Result, Results
from harness.verdict.compare import compare, failed, lines
from tests.verdict.made_up import CASE, FEW, OTHER, SOLVED, STACK, record
from tests.verdict.test_judge import SCATTER, without


def run(*records: Record) -> Results:
    return Results(tuple(Result(one, "") for one in records))


def test_comparison() -> None:
    same, lower = run(record()), run(record(values={"clip": 59.0}))
    assert [row.verdict for row in compare(same, same)] == ["PASS"]
    rows = compare(same, lower)
    assert (rows[0].verdict, rows[0].decided_by, rows[0].masks) == ("REGRESSION", "CLIP score", "same")
    assert failed(rows) and "-1.000 ± 0.000" in lines(rows, markdown=True)[2]
    assert [row.verdict for row in compare(lower, same)] == ["IMPROVED"] and not failed(compare(lower, same))
    gone = compare(run(record(), record(OTHER)), same)
    assert [row.verdict for row in gone] == ["PASS", "MISSING"] and failed(gone)
    other = compare(same, run(record(facts=FEW)))
    assert other[0].verdict == "NOT COMPARED" and failed(other)
    new = compare(run(), same)
    assert [row.verdict for row in new] == ["NEW"] and not failed(new)


def test_facts_decide_before_figures() -> None:
    for other, masks in ((record(keep="b" * 64), "differ"), (record(zeros=501), "same")):
        row = compare(run(record()), run(other))[0]
        assert (row.verdict, row.decided_by, row.masks) == ("REGRESSION", "exact", masks)
    row = compare(run(record()), run(record(degenerate=3)))[0]
    assert (row.verdict, row.decided_by) == ("REGRESSION", "degenerate")
    sketch = "0" * 1024
    row = compare(run(record(SOLVED, keep=sketch)), run(record(SOLVED, keep="1" + sketch[1:])))[0]
    assert row.verdict == "PASS" and row.masks == "0.02% differ"


def test_tolerances_are_those_of_the_rule() -> None:
    """Where weights are solved for the same change is let pass that is red elsewhere."""
    for case, verdict in ((CASE, "REGRESSION"), (SOLVED, "PASS")):
        before, after = (record(case, {"composition": value}, keep="0" * 1024) for value in (0.5, 0.475))
        assert compare(run(before), run(after))[0].verdict == verdict


def test_underpowered_stops_ci_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = compare(run(record()), run(record(scatter=SCATTER)))
    assert rows[0].verdict == "UNDERPOWERED"
    monkeypatch.delenv("CI", raising=False)
    assert not failed(rows)
    monkeypatch.setenv("CI", "1")
    assert failed(rows)


def test_runs_without_paired_values_are_refused() -> None:
    old = replace(record(), paired={})
    with pytest.raises(HarnessError, match="Measure both runs"):
        compare(run(old), run(record()))


def test_a_metric_that_one_run_has_is_a_remark() -> None:
    more = record(values={"ssim": 0.9})
    for before, after, which in ((record(), more, "second"), (more, record(), "first")):
        rows = compare(run(before), run(after))
        assert (
            rows[0].verdict == "PASS"
            and rows[0].remark == f"{METRICS['ssim'].label} 0.900 ± 0.100 in the {which} run only"
        )
        for markdown in (False, True):
            table = lines(rows, markdown)
            assert "remark" in table[0] and any(rows[0].remark in line for line in table)


def test_a_default_metric_that_the_second_run_lacks_is_red() -> None:
    rows = compare(run(record()), run(without(record(), "drift")))
    assert (rows[0].verdict, rows[0].decided_by) == ("NOT COMPARED", "drift") and failed(rows)
    assert "drift 1.00 in the first run only" in rows[0].remark
    rows = compare(run(without(record(), "drift")), run(record()))
    assert rows[0].verdict == "PASS" and "in the second run only" in rows[0].remark


def test_a_metric_measured_in_both_runs_is_a_column() -> None:
    before, after = (record(values={"ssim": value}) for value in (0.9, 0.5))
    rows = compare(run(before), run(after))
    assert (rows[0].verdict, rows[0].decided_by) == ("REGRESSION", METRICS["ssim"].label)
    head = lines(rows, markdown=False)[0]
    assert f"Δ {METRICS['ssim'].label}" in head and "Δ KID" not in head and "remark" not in head


def test_a_metric_that_nobody_registered_is_an_error() -> None:
    odd = record()
    odd.quality["fud"] = Measurement(1.0, 0.1, 64)
    for pair in ((run(odd), run(record())), (run(record()), run(odd))):
        with pytest.raises(HarnessError, match=r"the metric fud is unknown here; .*prunegate --plugin MODULE compare"):
            compare(*pair)


def test_markdown_counts_what_did_not_move() -> None:
    rng = random.Random(0)
    records = [record(case, {"clip": 60 + rng.random()}) for case in (CASE, OTHER)]
    moved = record(OTHER, {"clip": 50.0})
    text = lines(compare(run(*records), run(records[0], moved)), markdown=True)
    assert text[0].startswith("| case | Δ FID |") and len(text) == 5
    assert text[-1] == (
        "2 cases: 1 REGRESSION, 1 PASS; ± one standard error of the paired difference; 1 that did not move are left out"
    )
    quiet = lines(compare(run(*records), run(*records)), markdown=True)
    assert quiet == [
        "",
        "2 cases: 2 PASS; ± one standard error of the paired difference; 2 that did not move are left out",
    ]
    plain = lines(compare(run(*records), run(records[0], moved)), markdown=False)
    assert [line.split()[0] for line in plain[:3]] == ["case", OTHER.id, CASE.id]


def test_memory_latency_and_whether_quality_holds_are_columns_without_a_vote() -> None:
    """Control: what is twice as slow, larger and no longer holds passes here, as its metrics are equal."""

    def timed(megabytes: float, latency: float, answer: str) -> Results:
        held = Holding(answer, (Loss("clip", 0.1, 0.1, 0.5, answer),))
        ratio = LatencyResult(CASE, Measurement(latency, 0.01, 12), STACK, "")
        other = replace(ratio, case=OTHER)
        return Results((Result(record(megabytes=megabytes), "", holding=held),), (ratio, other))

    before, after = timed(50.0, 1.0, "yes"), timed(100.0, 2.0, "no")
    rows = compare(before, after)
    assert [(row.case, row.verdict, row.quiet) for row in rows] == [
        (CASE.id, "PASS", False), (OTHER.id, "TIMED", False),
    ]  # fmt: skip
    assert not failed(rows)
    for markdown in (False, True):
        shown = "\n".join(lines(rows, markdown))
        for words in ("yes → no", "50.0 → 100.0", "1.00 ± 0.01 → 2.00 ± 0.01"):
            assert words in shown
    assert all(row.quiet for row in compare(before, before)) and "1 TIMED" in lines(rows, False)[-1]
    bare = lines(compare(run(record(megabytes=None)), run(record(megabytes=None))), False)[0].split()
    assert not {"holds", "MB", "latency"} & set(bare)
