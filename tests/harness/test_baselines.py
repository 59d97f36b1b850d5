"""The shipped baselines: all of the matrix and nothing else, green on themselves, red when shifted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.matrix import cost_cases, quality_cases
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.baselines import Baselines, load, profile_of
from harness.verdict.judge import judge, judge_latency
from harness.verdict.tolerances import TOLERANCES
from tests.shifting import shifted

SHIPPED = load(Path(__file__).parents[2] / "baselines.json")


def measured(baselines: Baselines) -> list[Record]:
    """Return what a run that measures just what is stored would bring."""
    found = []
    for case, by_workload in baselines.cases.items():
        for workload, entry in by_workload.items():
            record = baselines.record(case, workload)
            assert record is not None
            (profile,) = entry["memory"]["tensor_megabytes"]
            memory = entry["memory"]["tensor_megabytes"][profile]["value"]
            conditions = baselines.profiles[profile]
            found.append(replace(record, tensor_megabytes=memory, conditions=conditions))
    return found


RECORDS = measured(SHIPPED)


def test_they_are_those_of_the_matrix() -> None:
    smoke, full = ({case.id for case in quality_cases("scenes", tier)} for tier in ("smoke", "full"))
    assert SHIPPED.cases.keys() == smoke | full
    assert {len(SHIPPED.cases[case]) for case in smoke & full} == {2}
    assert SHIPPED.latency.keys() == {case.id for case in cost_cases("scenes", "full", ("text_encoder", "unet"))}


def test_no_sidecar_lies_about_unused() -> None:
    assert len(list((Path(__file__).parents[2] / "baselines").iterdir())) == len(RECORDS)


def test_what_they_say_is_green_on_itself() -> None:
    assert {(judge(record, SHIPPED).kind, judge(record, SHIPPED).note) for record in RECORDS} == {("PASS", "")}


@pytest.mark.parametrize("metric", sorted(TOLERANCES.keys() - {"kid"}))
def test_shifted_by_tolerances_every_case_turns_red_or_stays(metric: str) -> None:
    for tolerances, wanted in ((0.5, "PASS"), (1.5, "REGRESSION")):
        better = shifted(SHIPPED, metric, tolerances)
        verdicts = {record.case: judge(record, better) for record in RECORDS}
        assert {verdict.kind for verdict in verdicts.values()} == {wanted}


@pytest.mark.parametrize(("tolerances", "wanted"), [(0.5, "PASS"), (1.5, "REGRESSION")])
def test_memory_and_latency_shifted_by_tolerances(tolerances: float, wanted: str) -> None:
    for record in RECORDS:
        entry = SHIPPED.cases[record.case][record.workload]
        (peak,) = entry["memory"]["tensor_megabytes"].values()
        assert record.tensor_megabytes is not None
        more = replace(record, tensor_megabytes=record.tensor_megabytes + tolerances * peak["tolerance"])
        assert judge(more, SHIPPED).kind == wanted
    for case in cost_cases("scenes", "full", ("text_encoder", "unet")):
        for profile, figure in SHIPPED.latency[case.id].items():
            slower = Measurement(figure["value"] + tolerances * figure["tolerance"], 0.02, 12)
            assert judge_latency(case, slower, SHIPPED.profiles[profile], SHIPPED).kind == wanted


def test_builds_of_one_version_share_a_profile() -> None:
    found = [profile_of({"device": "cpu", "torch": version}) for version in ("2.13.0", "2.13.0+cpu", "2.14.0")]
    assert found[0] == found[1] != found[2]
