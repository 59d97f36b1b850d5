"""Drop-offs: the last level at which quality holds, its interval, and the level at which the steep part begins."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.record import Measured
from harness.verdict.statistics import difference

DRAWS = 2000
# The metrics whose margins the reference study states. Claims and findings are about these.
STUDIED = ("fid", "clip")


@dataclass(frozen=True)
class Point:
    """One level of a curve."""

    level: float
    """The sparsity; for several components, the highest one."""
    losses: Mapping[str, tuple[float, float]]
    """Metric → its loss against dense, and the standard error of the loss."""
    redrawn: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Metric → its loss in every bootstrap resample of the captions. All levels have the same resamples. Empty where
    resamples are unknown."""


@dataclass(frozen=True)
class DropOff:
    """The drop-off of one curve."""

    last: float
    """The highest level at which quality holds, and holds at all lower levels too; 0 where there is none."""
    low: float
    """Lower end of the 95 % interval of `last`."""
    high: float
    """Upper end of the 95 % interval of `last`."""
    knee: float
    """The level at which the steep part begins, see `knee`."""


def margins(names: Sequence[str] | None = None) -> dict[str, float]:
    """Return metric → margin: the largest loss against dense at which quality still holds.

    Args:
        names: Metrics of `METRICS` to choose from; None: all. Metrics without a margin are left out.
    """
    return {
        name: metric.margin
        for name, metric in METRICS.items()
        if metric.margin is not None and (names is None or name in names)
    }


def dropoff(points: Sequence[Point], limits: Mapping[str, float] | None = None, knee_of: str = "clip") -> DropOff:
    """Return the drop-off of a curve, and how far it moves when the captions are drawn again.

    Without resamples, every loss is drawn 2,000 times from a normal distribution of its own, with a seed. The interval
    always contains the level `last`. Where several levels are close to the margin, chance can push one of them over it.
    So the interval extends further down than up.

    Args:
        points: Three levels or more.
        limits: Metric → margin; None: the margins of the metrics that the first point has.
        knee_of: The metric whose steep part decides the knee.

    Raises:
        HarnessError: There are fewer than three points.
    """
    if len(points) < 3:
        raise HarnessError(f"a drop-off needs three levels or more, there are {len(points)}; measure more levels")
    allowed = margins([*points[0].losses]) if limits is None else limits
    curve = sorted(points, key=lambda point: point.level)
    if all(allowed.keys() <= point.redrawn.keys() for point in curve):
        count = min(len(point.redrawn[name]) for point in curve for name in allowed)
        draws = [[{name: p.redrawn[name][i] for name in allowed} for p in curve] for i in range(count)]
    else:
        rng = random.Random(0)
        draws = [[{name: rng.gauss(*p.losses[name]) for name in allowed} for p in curve] for _ in range(DRAWS)]
    levels = [point.level for point in curve]
    last = _last(levels, [{name: p.losses[name][0] for name in allowed} for p in curve], allowed)
    drawn = sorted(_last(levels, losses, allowed) for losses in draws)
    low, high = drawn[round(0.025 * (len(drawn) - 1))], drawn[round(0.975 * (len(drawn) - 1))]
    steep = knee([(p.level, p.losses[knee_of][0]) for p in curve])
    return DropOff(last, min(low, last), max(high, last), steep)


def _last(levels: Sequence[float], losses: Sequence[Mapping[str, float]], allowed: Mapping[str, float]) -> float:
    last = 0.0
    for level, lost in zip(levels, losses, strict=True):
        if any(lost[name] > margin for name, margin in allowed.items()):
            return last
        last = level
    return last


def knee(losses: Sequence[tuple[float, float]]) -> float:
    """Return the first level at which a curve is half as steep as its steepest part; the last level if it never falls.

    Args:
        losses: (level, loss), in the order of levels.
    """
    points = [(0.0, 0.0), *((level, loss) for level, loss in losses if level > 0)]
    slopes = [((after - before) / (high - low), low) for (low, before), (high, after) in pairwise(points)]
    steepest = max(slope for slope, _ in slopes)
    if steepest <= 0:
        return losses[-1][0]
    return next(level for slope, level in slopes if slope >= steepest / 2)


def curve(dense: Measured, records: Sequence[Measured], names: Sequence[str] = STUDIED) -> list[Point]:
    """Return the points of one method on one component, as paired differences from the dense run.

    Args:
        dense: The record of the dense model.
        records: The records of the pruned models, of the same workload.
        names: The metrics whose losses count.

    Raises:
        HarnessError: A run lacks one of the metrics, or its paired values.
    """
    # Not at the top: collecting claims loads no torch.
    import torch

    from harness.metrics.frechet import picks

    metrics = [METRICS[name] for name in names]
    points = []
    for record in records:
        losses, redrawn = {}, {}
        for metric in metrics:
            change = difference(metric, dense, record)
            losses[metric.name] = (metric.worse_by(change.value), change.se)
            first, second = (torch.tensor(run.paired[metric.name], dtype=torch.float32) for run in (dense, record))
            moved = (second - first) * metric.worse_by(1)
            if metric.pairing == "caption":
                redrawn[metric.name] = moved[picks(len(moved))].mean(1).tolist()
            else:
                # Ties in a resample shift every distance, so use only the scatter of the resamples.
                redrawn[metric.name] = (metric.worse_by(change.value) + moved - moved.mean()).tolist()
        points.append(Point(max(record.case.requested.values()), losses, redrawn))
    return points
