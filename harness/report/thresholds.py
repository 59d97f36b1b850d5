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

    Quality holds by the budget of the run. Metrics that a group has not measured, such as FID without reference
    pictures, have no part.
    """
    budget = _budget(results)
    known = {}
    for group in groups(results):
        limits = {
            name: limit for name, limit in budget.items() if all(_has(name, one, group.dense) for one in _runs(group))
        }
        if group.dense and limits and _has_curve(group):
            known[group.case.group] = _of(group, group.dense, limits)
    return known


def rule(results: Results) -> str:
    """Return when quality holds, in words."""
    parts = [
        f"{METRICS[name].label} at most {margin:g} {'above' if METRICS[name].lower_is_better else 'below'}"
        for name, margin in _budget(results).items()
    ]
    return f"Quality holds where {', and '.join(parts)} the dense model's"


def _budget(results: Results) -> Mapping[str, float]:
    """Return metric → the largest loss at which quality holds: of the run, or the margins where it states none."""
    return results.budget or margins()


def _runs(group: Group) -> list[Record]:
    return [record for record in (group.dense, *group.records) if record is not None]


def _has_curve(group: Group) -> bool:
    single = not group.case.is_dense and not group.case.candidate and len(group.case.components) == 1
    levels = {level for record in group.records for level in record.case.levels if not isinstance(level, Pattern)}
    return single and len(levels) >= LEAST


def _has(name: str, record: Record, dense: Record | None) -> bool:
    """Return whether a metric of a record pairs with the dense model's."""
    if dense is None or name not in record.paired or name not in dense.paired:
        return False
    sides = [(one.quality[name].n, len(one.paired[name])) for one in (record, dense)]
    return sides[0] == sides[1]


def _of(group: Group, dense: Record, limits: Mapping[str, float]) -> Threshold:
    records = [one for one in group.records if not isinstance(one.case.levels[0], Pattern)]
    knee_of = "clip" if "clip" in limits else next(iter(limits))
    drop = dropoff(curve(dense, records, list(limits)), limits, knee_of)
    return Threshold(group.case, tuple(one.case.level for one in records), drop)
