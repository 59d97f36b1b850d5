"""Wrong lines in verdicts, in the baselines file and in the store: nothing about pruning or pictures is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.execution import sources
from harness.execution.store import Store
from harness.record import Counts, Measured, Record
from harness.verdict import exact, judge, sidecar, statistics, update
from harness.verdict.baseline import Baseline, Entry, Provenance
from harness.verdict.repository import Repository
from harness.verdict.statistics import IMPROVED
from harness.verdict.verdict import Verdict
from tests.defects.planting import Patch


def zeros_not_compared(patch: Patch) -> None:
    """The counts of zeros are taken for those of the baseline."""
    right = exact.exact

    def blind(record: Record, before: Measured) -> Verdict | None:
        stored = before.components
        seen = {n: replace(c, zeros=stored[n].zeros) if n in stored else c for n, c in record.components.items()}
        return right(replace(record, components=seen), before)

    patch.setattr(exact, "exact", blind)


def sparsity_may_miss_by_a_tenth(patch: Patch) -> None:
    """A component may have a sparsity that misses the request by 0.1."""
    right = exact.as_asked

    def generous(requested: Mapping[str, float], components: Mapping[str, Counts]) -> Verdict | None:
        return right(requested, {n: replace(c, rounding=c.rounding + 0.1) for n, c in components.items()})

    patch.setattr(exact, "as_asked", generous)
    patch.setattr(judge, "as_asked", generous)


def alpha_not_shared(patch: Patch) -> None:
    """Every comparison gets the whole α, as if it were the only one."""
    patch.setattr(Repository, "comparisons", 2)


def degrees_of_freedom_are_n(patch: Patch) -> None:
    """The t test of n changes has n degrees of freedom in place of n - 1."""
    right = statistics.tail
    patch.setattr(statistics, "tail", lambda t, degrees: right(t, degrees + 1))


def fewer_stored_bytes_not_reported(patch: Patch) -> None:
    """Fewer stored bytes than the baseline's are not reported."""
    right = judge._memory

    def silent(record: Record, before: Baseline) -> tuple[Verdict | None, str]:
        verdict, note = right(record, before)
        return (None if verdict is not None and verdict.kind == IMPROVED else verdict), note

    patch.setattr(judge, "_memory", silent)


def store_key_without_the_workload(patch: Patch) -> None:
    """The store's keys leave out captions, dtype, scheduler and all other facts of the workload."""
    right = Store._key
    patch.setattr(Store, "_key", lambda self, module, parts: right(self, module, [parts[0], *parts[2:]]))


def code_digest_without_pruners(patch: Patch) -> None:
    """The digest of the code leaves out the package `pruners`."""
    patch.setattr(sources, "OURS", ("harness",))


def update_drops_other_sidecars(patch: Patch) -> None:
    """An update of the baselines removes the sidecars of all cases that it does not store."""
    right = Repository.write

    def careless(self: Repository, path: Path | None = None) -> None:
        right(self, path)
        for place in sidecar.folder_of(path or self.path).iterdir():
            if place.name not in self.sidecars:
                place.unlink()

    patch.setattr(Repository, "write", careless)


def noise_handed_to_another_case(patch: Patch) -> None:
    """A case without measured noise gets that of the last case that has some."""
    right, measured = update.entry_of, []

    def generous(record: Record, provenance: Provenance, old: Entry | None) -> Entry:
        if old is not None and old.provenance.noise_runs:
            measured.append(old)
        return right(record, provenance, measured[-1] if measured else old)

    patch.setattr(update, "entry_of", generous)
