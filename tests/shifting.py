"""Baselines whose figures are better than what was measured: what a regression looks like from the other side."""

from __future__ import annotations

from dataclasses import replace

from harness.case import DENSE, Case
from harness.facts import Conditions
from harness.metrics import METRICS
from harness.record import Cost, Record
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository
from pruners.levels import Level, Pattern


def case_of(text: str) -> Case:
    """Return the case of an id."""
    target, component, method, layers, level, *variant = text.split("-")
    if method == DENSE:
        return Case(target)
    levels: list[Level] = [
        Pattern(*map(int, part.split(":"))) if ":" in part else float(part) for part in level.split("+")
    ]
    return Case(target, component, method, layers, tuple(levels), *variant)


def measured(repository: Repository) -> list[Record]:
    """Return what a run that measures just what is stored would bring."""
    records = []
    for text, entries in repository.baselines.cases.items():
        case = case_of(text)
        for entry in entries:
            stack = repository.baselines.stacks[entry.stack]
            before = repository.find(case, entry.workload, stack)
            assert before is not None
            memory = entry.memory
            conditions = Conditions(stack, entry.provenance.threads, 2, memory.batch_size if memory else 1, "")
            cost = Cost(1.0, 0.1, 0.9, memory.value if memory else None)
            records.append(
                Record(
                    case, entry.workload, before.keep, dict(before.components), dict(before.quality), before.paired,
                    before.degenerate, cost, conditions,
                )
            )  # fmt: skip
    return records


def shifted(repository: Repository, metric: str, tolerances: float) -> Repository:
    """Return baselines in which one metric of every case is better by some tolerances, in every paired value too."""
    records = []
    for record in measured(repository):
        entry = repository.entry(record.case, record.workload, record.conditions.stack)
        assert entry is not None
        by = -METRICS[metric].worse_by(tolerances * entry.quality[metric].tolerance)
        figure = replace(record.quality[metric], value=record.quality[metric].value + by)
        paired = [value + by for value in record.paired[metric]]
        records.append(
            replace(
                record, quality={**record.quality, metric: figure}, paired={**record.paired, metric: paired}
            )
        )  # fmt: skip
    return repository.updated(records, {}, (), Provenance("", "2026-01-01", "shifted"))
