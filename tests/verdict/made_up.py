"""Records, facts and a stack that no model made."""

from __future__ import annotations

from collections.abc import Sequence

from harness.case import Case
from harness.facts import Conditions, Stack, WorkloadFacts
from harness.measurement import Measurement
from harness.record import Cost, Counts, LatencyRecord, Record
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository

CASE = Case("scenes", "unet", "magnitude", "all", (0.5,))
OTHER = Case("scenes", "unet", "magnitude", "all", (0.6,))
SOLVED = Case("scenes", "unet", "sparsegpt", "all", (0.5,))
STACK = Stack("cpu", "2.13.0", "0.42.1", "5.23.0", "float32", "contiguous", "AttnProcessor")
GPU = Stack("H100", "2.13.0", "0.42.1", "5.23.0", "float32", "contiguous", "AttnProcessor")
FACTS = WorkloadFacts("scenes", "aa", "bb", 64, 8, 3.0, 7, "cc", "dd", "dd", "ee")
FEW = WorkloadFacts("scenes", "aa", "bf", 16, 8, 3.0, 7, "cc", "dd", "dd", "ee")
KNOWN = {facts.key: facts for facts in (FACTS, FEW)}
FIRST = Provenance("0123456789ab", "2026-11-01", "first")
SECOND = Provenance("ba9876543210", "2026-11-02", "second")
VALUES = {"fid": 10.0, "fid_dense": 5.0, "clip": 60.0, "composition": 0.5, "drift": 1.0}


def record(
    case: Case = CASE,
    values: dict[str, float] | None = None,
    *,
    scatter: Sequence[float] = (),
    keep: str = "a" * 64,
    zeros: int | None = None,
    degenerate: int = 0,
    stack: Stack = STACK,
    batch_size: int = 32,
    megabytes: float | None = 50.0,
    stored: int = 5000,
    facts: WorkloadFacts = FACTS,
) -> Record:
    """Return a record with the given values in place of `VALUES`, each paired value beside it by the same amount.

    scatter: what is added to the paired values of the CLIP score, one after the other, leaving its mean as it is.
    """
    paired = {}
    figures = VALUES | (values or {})
    for name, value in figures.items():
        paired[name] = [value + (i % 8) / 8 - 0.4375 for i in range(64)]
    paired["clip"] = [value + (scatter[i] if i < len(scatter) else 0) for i, value in enumerate(paired.get("clip", []))]
    level = case.requested.get("unet", 0.0)
    pruned = round(1000 * level) if zeros is None else zeros
    counts = Counts(2000, 1000, pruned, pruned / 1000, pruned / 2000, 0.001, 8000, stored)
    quality = {name: Measurement(value, 0.1, 64) for name, value in figures.items()}
    paired = {name: paired[name] for name in figures}
    conditions = Conditions(stack, 2, 2, batch_size, "2.13.0+cpu")
    cost = Cost(1.0, 0.1, 0.9, megabytes)
    return Record(case, facts.key, keep, {"unet": counts}, quality, paired, degenerate, cost, conditions)


def ratio(value: float = 1.0, stack: Stack = STACK, case: Case = CASE) -> LatencyRecord:
    return LatencyRecord(case, Measurement(value, 0.01, 12), stack)


def put(repository: Repository, *records: Record, by: Provenance = FIRST) -> Repository:
    """Return the repository with records put in, not written."""
    return repository.updated(records, KNOWN, (), by)
