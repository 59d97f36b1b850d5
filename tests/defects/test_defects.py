"""Plant one wrong line at a time in the real path, and require that the real gate or its contract sees it.

Without a defect the same cases are green and the same contracts hold. The summary says what caught each, and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.outcome import Outcome
from harness.execution.run import Caches, pruned, run
from harness.verdict import exact as exacting
from harness.verdict import judge as judging
from harness.verdict.repository import Repository
from harness.verdict.verdict import Verdict
from harness.workloads.scenes import scenes
from pruners import select
from tests.defects import catalogue
from tests.defects.catalogue import BOTH, CONTRACTS, CONTROLS, GATED, USERS, Run
from tests.defects.planting import Patch, Plant, wrong_line
from tests.defects.users import UsersGate
from tests.defects.weights import weights_not_restored

BASELINES = Repository.open(Path(__file__).parents[2] / "baselines.json")
SMOKE_CAPTIONS = 16
# The cases that share statistics.
PLANNED = [control.case for control in CONTROLS]

Record = Callable[[str, object], None]


class Session:
    """What the tests share while nothing is wrong: workbenches, their statistics, and the dense outcome."""

    def __init__(self) -> None:
        """Load the workload of `--tier smoke`."""
        self.bench = Workbench(Setup(scenes(SMOKE_CAPTIONS), "cpu", BOTH.batch_size))
        self._calibrations = Caches.of(self.bench, PLANNED).calibrations

    @cached_property
    def two_batches(self) -> Workbench:
        """The same workload in two batches."""
        return Workbench(Setup(scenes(SMOKE_CAPTIONS), "cpu", catalogue.TWO_BATCHES.batch_size))

    @cached_property
    def clean(self) -> Outcome:
        """The dense case without a defect."""
        return run(Case("scenes"), self.bench, None, self.caches(BOTH), _silent)

    def bench_of(self, one: Run) -> Workbench:
        """Return the workbench with a run's batch size."""
        return self.bench if one.batch_size == self.bench.setup.batch_size else self.two_batches

    def caches(self, one: Run) -> Caches:
        """Return caches that hold no pruned level, and the statistics of all where the run may share them."""
        fresh = Caches.of(self.bench_of(one), one.planned or PLANNED)
        shared = not one.recalibrated and self.bench_of(one) is self.bench
        return replace(fresh, calibrations=self._calibrations) if shared else fresh


def _silent(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def smoke() -> Session:
    return Session()


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsersGate]:
    with pytest.MonkeyPatch.context() as patch:
        yield UsersGate(tmp_path_factory.mktemp("users"), patch)


@pytest.fixture(autouse=True)
def dense_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """A defect may leave its damage in the model; the next test starts with the dense weights."""
    if "smoke" not in request.fixturenames:
        yield
        return
    smoke = request.getfixturevalue("smoke")
    models = [bench.target.components for bench in (smoke.bench, smoke.two_batches)]
    kept = [{n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in model.items()} for model in models]
    yield
    for model, by_name in zip(models, kept, strict=True):
        for name, weights in by_name.items():
            model[name].load_state_dict(weights)


def verdict(session: Session, one: Run, clean: bool = False) -> Verdict:
    """Return what the gate says; where it needs no picture to say it, none is made.

    Args:
        session: What tests share.
        one: The case.
        clean: Whether nothing is wrong, so that the dense pictures are those of other tests.
    """
    case, bench, caches = one.case, session.bench_of(one), session.caches(one)
    shared = clean or not one.dense_too
    # `clean` is made before a defect is planted.
    dense = session.clean if shared and not case.is_dense and bench is session.bench else None
    try:
        with pruned(case, bench, caches, _silent) as facts:
            stored = BASELINES.find(case, bench.facts(case).key, bench.stack)
            assert stored is not None
            said = exacting.exact(facts, stored)
        if said is not None:
            return said
        if dense is None and not case.is_dense:
            dense = run(Case("scenes"), bench, None, caches, _silent)
        return judging.judge(run(case, bench, dense, caches, _silent).record, BASELINES)
    except HarnessError as error:
        return Verdict("REGRESSION", "surgery", str(error))


def _keep(record_property: Record, defect: Plant, seen: str, start: float) -> None:
    record_property("defect", (defect.__name__, seen, time.perf_counter() - start))


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: f"{one.case.id}-{one.batch_size}")
def test_control_without_a_defect_is_green(smoke: Session, control: Run) -> None:
    said = verdict(smoke, control, clean=True)
    assert said.passed, said.reason


def test_control_of_a_users_pipeline_is_green(users: UsersGate) -> None:
    said = users.verdict()
    assert said.passed, said.reason


@pytest.mark.parametrize("check", dict.fromkeys(CONTRACTS.values()), ids=lambda check: check.__name__)
def test_contract_holds_without_a_defect(check: Callable[[Path], None], tmp_path: Path) -> None:
    check(tmp_path)


def test_the_catalogue_is_large_and_mostly_caught_without_pictures() -> None:
    without = [gate for _, gate in GATED.values() if gate in catalogue.WITHOUT_PICTURES]
    assert len(GATED) + len(USERS) + len(CONTRACTS) >= 60 and len(without) + len(CONTRACTS) >= 40
    for defect in (*GATED, *USERS, *CONTRACTS):
        said = defect.__doc__ or ""
        assert said.endswith(".") and "\n" not in said, f"{defect.__name__} does not say in one line what is wrong"


def test_a_piece_that_the_code_no_longer_holds_is_refused(monkeypatch: Patch) -> None:
    """A defect that is not planted could not be told from one that survives."""
    for piece in ("no such piece", "scores"):
        with pytest.raises(LookupError, match="plant the defect in today's code"):
            wrong_line(monkeypatch, select, "ranks", piece, "")


@pytest.mark.parametrize("defect", GATED, ids=lambda defect: defect.__name__)
def test_defect_turns_the_gate_red(smoke: Session, monkeypatch: Patch, defect: Plant, record_property: Record) -> None:
    one, gate = GATED[defect]
    if not one.dense_too:
        _ = smoke.clean
    defect(monkeypatch)
    start = time.perf_counter()
    said = verdict(smoke, one)
    _keep(record_property, defect, f"{said.kind} ({said.gate})", start)
    assert said.red(ci=False, gains_pass=False), "the defect survived"
    assert said.gate == gate, said.reason


@pytest.mark.parametrize("defect", USERS, ids=lambda defect: defect.__name__)
def test_defect_turns_the_gate_of_a_users_pipeline_red(
    users: UsersGate, monkeypatch: Patch, defect: Plant, record_property: Record
) -> None:
    defect(monkeypatch)
    start = time.perf_counter()
    said = users.verdict()
    _keep(record_property, defect, f"{said.kind} ({said.gate})", start)
    assert said.red(ci=False, gains_pass=False), "the defect survived"
    assert said.gate == USERS[defect], said.reason


@pytest.mark.parametrize("defect", CONTRACTS, ids=lambda defect: defect.__name__)
def test_defect_breaks_its_contract(monkeypatch: Patch, defect: Plant, tmp_path: Path, record_property: Record) -> None:
    defect(monkeypatch)
    start = time.perf_counter()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        CONTRACTS[defect](tmp_path)
    _keep(record_property, defect, f"contract {CONTRACTS[defect].__name__}", start)


def test_weights_not_restored_turn_the_next_case_red(
    smoke: Session, monkeypatch: Patch, record_property: Record
) -> None:
    dense = smoke.clean
    weights_not_restored(monkeypatch)
    start = time.perf_counter()
    assert judging.judge(run(BOTH.case, smoke.bench, dense, smoke.caches(BOTH), _silent).record, BASELINES).passed
    for then in (catalogue.RANDOM, catalogue.WANDA, catalogue.PATTERN, catalogue.GLOBAL):
        assert verdict(smoke, then).gate == "exact"
    _keep(record_property, weights_not_restored, "REGRESSION (exact)", start)
