"""Plant one wrong line at a time in the real path and require that the real gate turns red, at the smoke tier.

The first test is the control: without a defect the same cases are green. The summary says what caught each, and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.outcome import Outcome
from harness.execution.run import Caches, pruned, run
from harness.verdict.exact import exact
from harness.verdict.judge import judge
from harness.verdict.repository import Repository
from harness.verdict.verdict import Verdict
from harness.workloads.scenes import scenes
from tests.defects.catalogue import CONTROLS, DEFECTS, RECALIBRATED, WITHOUT_PICTURES
from tests.defects.weights import Patch, weights_not_restored

BASELINES = Repository.open(Path(__file__).parents[2] / "baselines.json")
SMOKE_CAPTIONS = 16


class Session:
    """What the tests share while nothing is wrong: the workbench, its statistics, and the dense outcome."""

    def __init__(self) -> None:
        """Load the workload of `--tier smoke`."""
        self.bench = Workbench(Setup(scenes(SMOKE_CAPTIONS), "cpu", 32))
        self._calibrations = Caches.of(self.bench, CONTROLS).calibrations

    def caches(self, recalibrated: bool = False) -> Caches:
        """Return caches that hold no pruned level. recalibrated: and no statistics."""
        fresh = Caches.of(self.bench, CONTROLS)
        return fresh if recalibrated else replace(fresh, calibrations=self._calibrations)

    def dense(self) -> Outcome:
        """Run the dense case, with whatever is wrong."""
        return run(Case("scenes"), self.bench, None, self.caches(), _silent)


def _silent(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def smoke() -> Session:
    return Session()


@pytest.fixture(autouse=True)
def dense_again(smoke: Session) -> Iterator[None]:
    """A defect may leave its damage in the model; the next test starts with the dense weights."""
    components = smoke.bench.target.components
    kept = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in components.items()}
    yield
    for name, weights in kept.items():
        components[name].load_state_dict(weights)


def verdict(session: Session, case: Case, recalibrated: bool = False) -> Verdict:
    """Return what the gate says; where it needs no picture to say it, none is made."""
    bench, caches = session.bench, session.caches(recalibrated)
    try:
        with pruned(case, bench, caches, _silent) as facts:
            stored = BASELINES.find(case, bench.facts(case).key, bench.stack)
            assert stored is not None
            verdict = exact(facts, stored)
        if verdict is not None:
            return verdict
        dense = None if case.is_dense else session.dense()
        return judge(run(case, bench, dense, caches, _silent).record, BASELINES)
    except HarnessError as error:
        return Verdict("REGRESSION", "surgery", str(error))


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case.id)
def test_control_without_a_defect_is_green(smoke: Session, case: Case) -> None:
    said = verdict(smoke, case)
    assert said.passed, said.reason


def test_the_catalogue_is_large_and_mostly_caught_without_pictures() -> None:
    gates = [gate for _, gate in DEFECTS.values()]
    assert len(gates) >= 25 and sum(gate in WITHOUT_PICTURES for gate in gates) >= 18


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_defect_turns_the_gate_red(
    smoke: Session, monkeypatch: Patch, defect: Callable[[Patch], None], record_property: Callable[[str, object], None]
) -> None:
    case, gate = DEFECTS[defect]
    defect(monkeypatch)
    start = time.perf_counter()
    said = verdict(smoke, case, recalibrated=defect in RECALIBRATED)
    record_property("defect", (defect.__name__, f"{said.kind} ({said.gate})", time.perf_counter() - start))
    assert said.red(ci=False, gains_pass=False), "the defect survived"
    assert said.gate == gate, said.reason


def test_weights_not_restored_turn_the_next_case_red(
    smoke: Session, monkeypatch: Patch, record_property: Callable[[str, object], None]
) -> None:
    dense = smoke.dense()
    weights_not_restored(monkeypatch)
    start = time.perf_counter()
    assert judge(run(CONTROLS[1], smoke.bench, dense, smoke.caches(), _silent).record, BASELINES).passed
    for then in CONTROLS[2:]:
        assert verdict(smoke, then).gate == "exact"
    record_property("defect", ("weights_not_restored", "REGRESSION (exact)", time.perf_counter() - start))
