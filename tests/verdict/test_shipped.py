"""The shipped baselines: all of the matrix and nothing else, green on themselves, red when shifted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import claims
from benchmarks.matrix import cost_cases, quality_cases
from harness.measurement import Measurement
from harness.metrics import METRICS
from harness.record import LatencyRecord, Record
from harness.verdict.judge import judge, judge_latency
from harness.verdict.repository import Repository
from tests.shifting import case_of, measured, shifted

ROOT = Path(__file__).parents[2]
SHIPPED = Repository.open(ROOT / "baselines.json")
RECORDS = measured(SHIPPED)
ENTRIES = [(case_of(case), entry) for case, entries in SHIPPED.baselines.cases.items() for entry in entries]
PARTS = ("text_encoder", "unet")
COST = cost_cases("scenes", PARTS, "full")


def test_they_are_those_of_the_matrix() -> None:
    smoke, full = ({case.id for case in quality_cases("scenes", PARTS, tier)} for tier in ("smoke", "full"))
    cases = SHIPPED.baselines.cases
    assert cases.keys() == smoke | full
    # One entry per number of captions: 256 where a claim rests on the case.
    claimed = {case.id for claim in claims("scenes") for case in claim.cases}
    assert all(len(cases[case]) == 1 + (case in smoke) + (case in claimed) for case in full)
    assert SHIPPED.baselines.latency.keys() == {case.id for case in COST}


def test_no_sidecar_lies_about_unused() -> None:
    assert len(list((ROOT / "baselines").iterdir())) == len(RECORDS)


def test_what_they_say_is_green_on_itself() -> None:
    given = [judge(record, SHIPPED) for record in RECORDS]
    assert {verdict.kind for verdict in given} == {"PASS"}
    # Cases that an interrupted run resumed have no figure of memory.
    assert {verdict.note for verdict in given} <= {"", "memory was not compared: not measured"}


@pytest.mark.parametrize("metric", [name for name in METRICS if name in RECORDS[0].quality])
def test_shifted_by_tolerances_every_case_turns_red_or_stays(metric: str) -> None:
    for tolerances, wanted in ((0.5, "PASS"), (1.5, "REGRESSION")):
        better = shifted(SHIPPED, metric, tolerances)
        assert {judge(record, better).kind for record in RECORDS if not _noisy(record)} == {wanted}
        # Where the tolerance is three times a measured noise, a shift of 1.5 tolerances is red, but not certain.
        noisy = [judge(record, better) for record in RECORDS if _noisy(record)]
        assert all(verdict.kind in (wanted, "UNDERPOWERED") for verdict in noisy)
        assert all(verdict.red(True, False) == (wanted != "PASS") for verdict in noisy)


def _noisy(record: Record) -> bool:
    entry = SHIPPED.entry(record.case, record.workload, record.conditions.stack)
    return entry is not None and entry.provenance.noise_runs > 0


@pytest.mark.parametrize(("tolerances", "wanted"), [(0.5, "PASS"), (1.5, "REGRESSION")])
def test_memory_and_latency_shifted_by_tolerances(tolerances: float, wanted: str) -> None:
    for record in RECORDS:
        entry = SHIPPED.entry(record.case, record.workload, record.conditions.stack)
        assert entry is not None
        if entry.memory is None:
            continue
        more = replace(record.cost, tensor_megabytes=entry.memory.value + tolerances * entry.memory.tolerance)
        assert judge(replace(record, cost=more), SHIPPED).kind == wanted
    for case in COST:
        for key, latency in SHIPPED.baselines.latency[case.id].items():
            figure = latency.figure
            slower = Measurement(figure.value + tolerances * figure.tolerance, 0.02, 12)
            timed = LatencyRecord(case, slower, SHIPPED.baselines.stacks[key])
            assert judge_latency(timed, SHIPPED).kind == wanted


def test_stored_tolerances_are_those_of_the_rule_and_above_the_noise() -> None:
    for case, entry in ENTRIES:
        for name, figure in entry.quality.items():
            allowed = METRICS[name].allowed(figure, case.moves_weights)
            if entry.provenance.noise_runs:
                assert figure.tolerance == max(allowed, math.ceil(30_000 * figure.noise) / 10_000)
            else:
                assert figure.tolerance == allowed
                assert figure.noise == METRICS[name].expected_noise(figure, case.moves_weights)
            assert figure.tolerance >= 3 * figure.noise


def test_the_number_of_comparisons_is_that_of_the_full_tier() -> None:
    metrics = RECORDS[0].quality
    assert len(quality_cases("scenes", PARTS, "full")) * len(metrics) * 2 == SHIPPED.comparisons == 3590


def test_a_person_can_review_the_file() -> None:
    lines = (ROOT / "baselines.json").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("   ") and "@" in line and line.endswith("{")]
    ends = [next(i for i in range(start, len(lines)) if lines[i].startswith("   }")) for start in starts]
    assert len(starts) == len(ENTRIES)
    assert max(end - start + 1 for start, end in zip(starts, ends, strict=True)) <= 22
    assert len(lines) <= 22 * len(ENTRIES) and max(map(len, lines)) < 800
