"""Plant one wrong line at a time in the real path and require that the real gate turns red, at the smoke tier.

The first test is the control: without a defect the same cases are green. The summary says what caught each, and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import pipeline
from harness.case import Case
from harness.engine import Engine
from harness.errors import HarnessError
from harness.verdict.baselines import load
from harness.verdict.judge import Verdict, exact, judge
from tests.defects.catalogue import CONTROLS, DEFECTS, RECALIBRATED, WITHOUT_PICTURES
from tests.defects.weights import Patch, weights_not_restored

BASELINES = load(Path(__file__).parents[2] / "baselines.json")
SMOKE_CAPTIONS = 16


@pytest.fixture(scope="module")
def smoke() -> Engine:
    """The workload of `--tier smoke`."""
    engine = Engine("scenes", "cpu", SMOKE_CAPTIONS, 32)
    engine.planned = CONTROLS
    return engine


@pytest.fixture(autouse=True)
def dense_again(smoke: Engine) -> Iterator[None]:
    """A defect may leave its damage in the model and in what the session shares; the next test starts afresh."""
    kept = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in smoke.target.components.items()}
    for forgotten in range(2):
        smoke.pruned = {}
        smoke.__dict__.pop("dense", None)
        if not forgotten:
            yield
    for name, weights in kept.items():
        smoke.target.components[name].load_state_dict(weights)


def verdict(engine: Engine, case: Case) -> Verdict:
    """Return what the gate says; where it needs no picture to say it, none is made."""
    try:
        with pipeline.pruned(case, engine) as facts:
            stored = BASELINES.record(case.id, engine.workload_key(case))
            assert stored is not None
            found = exact(case.requested, facts.exact, stored.exact)
        return found or judge(pipeline.run(case, engine).record, BASELINES)
    except HarnessError as error:
        return Verdict("REGRESSION", "surgery", str(error))


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case.id)
def test_control_without_a_defect_is_green(smoke: Engine, case: Case) -> None:
    found = verdict(smoke, case)
    assert found.passed, found.reason


def test_the_catalogue_is_large_and_mostly_caught_without_pictures() -> None:
    gates = [gate for _, gate in DEFECTS.values()]
    assert len(gates) >= 25 and sum(gate in WITHOUT_PICTURES for gate in gates) >= 18


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_defect_turns_the_gate_red(
    smoke: Engine, monkeypatch: Patch, defect: Callable[[Patch], None], record_property: Callable[[str, object], None]
) -> None:
    case, gate = DEFECTS[defect]
    defect(monkeypatch)
    if defect in RECALIBRATED:
        monkeypatch.setattr(smoke, "_calibration", None)
    start = time.perf_counter()
    found = verdict(smoke, case)
    record_property("defect", (defect.__name__, f"{found.kind} ({found.gate})", time.perf_counter() - start))
    assert found.red(ci=False, gains_pass=False), "the defect survived"
    assert found.gate == gate, found.reason


def test_weights_not_restored_turn_the_next_case_red(
    smoke: Engine, monkeypatch: Patch, record_property: Callable[[str, object], None]
) -> None:
    weights_not_restored(monkeypatch)
    start = time.perf_counter()
    _ = smoke.dense  # made while the model is
    assert judge(pipeline.run(CONTROLS[1], smoke).record, BASELINES).passed
    for then in CONTROLS[2:]:
        found = verdict(smoke, then)
        assert found.gate == "exact"
    record_property("defect", ("weights_not_restored", "REGRESSION (exact)", time.perf_counter() - start))
