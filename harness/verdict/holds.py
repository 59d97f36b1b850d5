"""Is it still good? The losses of a case against the dense model of its run, beside a budget of losses.

This is another question than that of the verdict, and has no part in the verdict: a case can be as bad as its baseline,
and PASS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

from harness.case import Case
from harness.holding import NO, UNDECIDED, YES, HeldTo, Holding, Loss
from harness.measurement import FEW
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import Measured, Record
from harness.results import Results
from harness.verdict.dropoff import curve, dropoff
from harness.verdict.statistics import POWER, difference, p_value
from pruners.levels import Pattern

# The allowed probability of a wrong "yes", and of a wrong "no", of one case.
ALPHA = 0.05
# A curve of fewer levels has no threshold.
FEWEST = 3


def holding(dense: Measured, record: Measured, budget: Mapping[str, float]) -> Holding | None:
    """Return whether the quality of a case holds.

    "yes" where every loss is below its budget beyond chance: a one-sided t test of each metric at 5 %. All tests must
    agree, so the chance of a wrong "yes" is 5 % at most. "no" where one loss is above its budget beyond chance; the
    metrics share 5 % evenly.

    Fewer than `FEW` captions never answer "yes": single bad pictures may be missing among them.

    Args:
        dense: The dense model of the same run.
        record: The case.
        budget: Metric → largest loss at which quality still holds. Metrics that were not measured have no part.

    Returns:
        The answer; None for the dense model itself, and where no metric of the budget was measured.

    Raises:
        HarnessError: The two have different numbers of pictures or of paired values.
    """
    shared = {name: limit for name, limit in budget.items() if name in dense.quality and name in record.quality}
    if record.case.is_dense or not shared:
        return None
    losses = tuple(_loss(METRICS[name], dense, record, shared[name], len(shared)) for name in METRICS if name in shared)
    answers = {loss.answer for loss in losses}
    return Holding(NO if NO in answers else UNDECIDED if UNDECIDED in answers else YES, losses)


def _loss(metric: Metric, dense: Measured, record: Measured, budget: float, metrics: int) -> Loss:
    change = difference(metric, dense, record)
    value, se = metric.worse_by(change.value), change.se
    if metric.steps and metric.pairing == "caption":
        se = max(se, _of_steps(dense.paired[metric.name], record.paired[metric.name]))
    gap = budget - value
    alpha = ALPHA if gap > 0 else ALPHA / metrics
    sure = gap != 0 and p_value(gap, se, 0.0, change.n) < alpha
    few = gap > 0 and change.n < FEW
    if sure and not few:
        return Loss(metric.name, value, se, budget, YES if gap > 0 else NO)
    normal = NormalDist()
    wanted = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * se
    # A loss on the budget itself stays undecided with any number of captions.
    gap = max(abs(gap), 1e-3 * budget)
    captions = max(math.ceil(change.n * (wanted / gap) ** 2), change.n + 1, FEW)
    return Loss(metric.name, value, se, budget, UNDECIDED, captions)


def _of_steps(before: list[float], after: list[float]) -> float:
    """Return the standard error of a difference of shares, paired by caption: Agresti and Min (Statist. Med. 24, 2005).

    Half a caption more in each of the four cells keeps it above 0 where no caption differs.
    """
    changes = [b - a for a, b in zip(before, after, strict=True)]
    n, total = len(changes) + 2, math.fsum(changes)
    return math.sqrt((math.fsum(change**2 for change in changes) + 1 - total**2 / n) / n**2)


def with_holding(results: Results, budget: Mapping[str, float]) -> Results:
    """Return results with their budget, and with how far quality holds on every curve.

    Args:
        results: The results of a run, whose cases have their answers.
        budget: The budget of the run. The results keep the metrics that were measured.
    """
    known = {name for result in results.cases for name in result.record.quality}
    measured = {name: limit for name, limit in budget.items() if name in known}
    return replace(results, budget=measured, held=tuple(_held(results, measured)))


def _held(results: Results, budget: Mapping[str, float]) -> list[HeldTo]:
    curves: dict[tuple[str, str], list[Record]] = {}
    for result in results.cases:
        if _on_a_curve(result.record.case) and result.holding is not None:
            curves.setdefault((result.record.case.target, result.record.case.group), []).append(result.record)
    held = []
    for (target, name), records in sorted(curves.items()):
        dense = results.dense.get(target)
        if dense is None or len(records) < FEWEST:
            continue
        names = [metric for metric in budget if all(metric in run.quality for run in (dense, *records))]
        if names:
            limits = {metric: budget[metric] for metric in names}
            drop = dropoff(curve(dense, records, names), limits, "clip" if "clip" in names else names[0])
            held.append(HeldTo(name, drop.last, drop.low, drop.high, drop.knee, len(records)))
    return held


def _on_a_curve(case: Case) -> bool:
    """Return whether a case has one sparsity: pairs of different ones and patterns are no points of a curve."""
    plain = not any(isinstance(level, Pattern) for level in case.levels)
    return plain and len(set(case.requested.values())) == 1
