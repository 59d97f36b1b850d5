"""The largest sparsity at which the quality of a method holds, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics import METRICS
from harness.report.groups import Group, groups
from harness.verdict.dropoff import DropOff, curve, dropoff, margins
from pruners.levels import Pattern

if TYPE_CHECKING:
    from harness.case import Case
    from harness.record import Record
    from harness.results import Results

# A drop-off needs as many levels.
LEAST = 3


@dataclass(frozen=True)
class Threshold:
    """The drop-off of one group of cases."""

    case: Case
    """One of the cases."""
    levels: tuple[str, ...]
    """The levels that were measured."""
    dropoff: DropOff
    """The largest level that holds, and its interval."""


def thresholds(results: Results) -> dict[str, Threshold]:
    """Return `Case.group` → the threshold, for all groups with a curve: one component, three sparsities or more.

    A run that has not measured every default metric with a margin, such as one without reference pictures, has none.
    """
    return {group.case.group: _of(group, group.dense) for group in groups(results) if group.dense and _has_curve(group)}


def rule() -> str:
    """Return when quality holds, in words."""
    parts = [
        f"{METRICS[name].label} at most {margin:g} {'above' if METRICS[name].lower_is_better else 'below'}"
        for name, margin in margins().items()
    ]
    return f"Quality holds where {', and '.join(parts)} the dense model's"


def _has_curve(group: Group) -> bool:
    records = [group.dense, *group.records]
    single = not group.case.is_dense and not group.case.candidate and len(group.case.components) == 1
    levels = {level for record in group.records for level in record.case.levels if not isinstance(level, Pattern)}
    return single and len(levels) >= LEAST and all(_comparable(record, group.dense) for record in records)


def _comparable(record: Record | None, dense: Record | None) -> bool:
    def counts(one: Record | None) -> Mapping[str, tuple[int, int]]:
        return {name: (one.quality[name].n, len(one.paired[name])) for name in margins() if name in one.paired} \
            if one else {}  # fmt: skip

    return counts(record) == counts(dense) and len(counts(dense)) == len(margins())


def _of(group: Group, dense: Record) -> Threshold:
    records = [one for one in group.records if not isinstance(one.case.levels[0], Pattern)]
    return Threshold(group.case, tuple(one.case.level for one in records), dropoff(curve(dense, records)))
