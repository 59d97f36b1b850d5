"""What holds for verdicts, baselines and the store whatever was measured. Each check is green without a defect."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.case import Case
from harness.execution import sources
from harness.execution.store import CASES, Store
from harness.facts import Conditions, WorkloadFacts
from harness.verdict.judge import judge
from harness.verdict.repository import Repository
from harness.verdict.statistics import p_value
from tests.verdict.made_up import CASE, FACTS, FIRST, KNOWN, OTHER, SECOND, STACK, put, record

EMPTY = Repository(Path("baselines.json"))
STORED = put(EMPTY, record())


def one_zero_more_is_red(_: Path) -> None:
    """One zero more than the baseline has is a regression, with the same keep masks."""
    assert judge(record(zeros=501), STORED).reason == "unet has zeros 501, the baseline 500"


def a_missed_sparsity_is_red(_: Path) -> None:
    """A sparsity of 0.55 where 0.50 was requested is a regression, although the baseline has 0.55 too."""
    missed = record(zeros=550)
    assert judge(missed, put(EMPTY, missed)).gate == "exact"


def more_comparisons_ask_for_more_certainty(_: Path) -> None:
    """A change that is sure among 10 comparisons is not sure among 2,000."""
    scatter = [((i * 37) % 64 - 31.5) / 46 for i in range(64)]
    changed = record(values={"clip": 59.8}, scatter=scatter)
    many = [replace(FACTS, target=f"t{i}") for i in range(200)]
    records = [replace(record(replace(CASE, target=facts.target)), workload=facts.key) for facts in many]
    more = STORED.updated(records, KNOWN | {facts.key: facts for facts in many}, (), FIRST)
    assert [judge(changed, stored).kind for stored in (STORED, more)] == ["REGRESSION", "UNDERPOWERED"]


def p_values_are_those_of_the_table(_: Path) -> None:
    """Of eleven changes, the printed table of t has 2.5 % above 2.228; of two, 2.5 % above 12.706."""
    for t, n in ((2.228, 11), (12.706, 2)):
        assert p_value(t, 1.0, 0.0, n) == pytest.approx(0.025, rel=2e-3)


def fewer_bytes_are_said(_: Path) -> None:
    """Fewer stored bytes than the baseline has are an unexpected gain."""
    assert judge(record(stored=4000), STORED).gate == "memory"


def every_fact_of_the_workload_is_in_the_keys(folder: Path) -> None:
    """Whatever fact of the workload differs, the store finds neither the case nor its pictures."""

    def keys(facts: WorkloadFacts) -> list[str]:
        bench: Any = SimpleNamespace(
            facts=lambda case: facts, conditions=Conditions(STACK, 1, 1, 8, "2.13.0"), metrics=(), texts=[],
            setup=SimpleNamespace(keeps_pictures=False), workload=SimpleNamespace(name="scenes"),
        )  # fmt: skip
        store = Store(folder, bench)
        return [store.shelf(CASE)._key, store._pictures_key("weights")]

    first = keys(FACTS)
    assert keys(replace(FACTS)) == first
    for field in fields(WorkloadFacts):
        value = getattr(FACTS, field.name)
        other = value + 1 if isinstance(value, int | float) else f"another {value}"
        assert not {*first} & {*keys(replace(FACTS, **{field.name: other}))}, field.name


def code_of_pruners_is_in_the_digest(_: Path) -> None:
    """Where the source of a pruner changes, the digest of the code behind a finished case changes."""
    place, right = sources.ROOT / "pruners" / "magnitude.py", sources.digests.of_file
    _forget()
    before = sources.digest(CASES)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources.digests, "of_file", lambda path: "changed" if path == place else right(path))
            _forget()
            assert sources.digest(CASES) != before
    finally:
        _forget()


def _forget() -> None:
    sources.digest.cache_clear()
    sources.closure.cache_clear()


def an_update_keeps_other_cases(folder: Path) -> None:
    """After an update of one case, the other case's sidecar is still there."""
    path = folder / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    put(Repository.open(path), record(values={"fid": 12.0}), by=SECOND).write()
    now = Repository.open(path)
    values = [_stored_fid(now, case) for case in (CASE, OTHER)]
    assert values == [12.0, 10.0]


def _stored_fid(repository: Repository, case: Case) -> float | str:
    """Return the stored FID of a case, or the reason why it cannot be read."""
    from harness.verdict.repository import Damaged

    try:
        baseline = repository.find(case, FACTS.key, STACK)
    except Damaged as error:
        return str(error)
    assert baseline is not None
    return baseline.quality["fid"].value


def measured_noise_stays_with_its_case(folder: Path) -> None:
    """The noise that was measured for one case is not that of another one after an update of both."""
    path = folder / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    runs = [[record(values={"clip": clip})] for clip in (60.002, 60.004, 60.008)]
    noisy, _ = Repository.open(path).with_noise(runs, SECOND)
    noisy.write()
    put(Repository.open(path), record(), record(OTHER), by=SECOND).write()
    own, other = (Repository.open(path).entries(case)[0] for case in (CASE, OTHER))
    assert (own.quality["clip"].noise, own.provenance.noise_runs) == (0.003055, 3)
    assert (other.quality["clip"].noise, other.provenance.noise_runs) == (0.0, 0)
