"""Where quality drops off: the last level that holds, how sure that is, and where the steep part begins."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.errors import HarnessError
from harness.record import Record
from harness.verdict.statistics import difference
from harness.verdict.tolerances import LOWER_IS_BETTER

# What may be lost before quality no longer "holds": FID, and CLIP score on the scale of 100·cos.
MARGINS = {"fid": 2.0, "clip": 0.5}
DRAWS = 2000


@dataclass(frozen=True)
class Point:
    """One level of a curve.

    losses: metric → (how much worse than dense, its standard error). redrawn: metric → the loss in every bootstrap
    resample of the captions, where they are known; the same resamples at every level.
    """

    level: float
    losses: Mapping[str, tuple[float, float]]
    redrawn: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class DropOff:
    """last: the highest level that holds together with all below it, 0 where none does; low, high: its 95 % interval.

    knee: where the steep part begins, see `knee`.
    """

    last: float
    low: float
    high: float
    knee: float


def dropoff(points: Sequence[Point], margins: Mapping[str, float] = MARGINS, knee_of: str = "clip") -> DropOff:
    """Find the drop-off of a curve and how far it moves when the captions are drawn anew.

    Without resamples every loss is redrawn from a normal distribution of its own, 2,000 times, seeded. The interval
    always holds the level found. Where levels lie close together and near the margin, one that falls below it by chance
    ends the curve early, so the interval reaches further down than up. Raises HarnessError for fewer than three points.
    """
    if len(points) < 3:
        raise HarnessError(f"a drop-off wants three levels or more, found {len(points)}")
    curve = sorted(points, key=lambda point: point.level)
    if all(margins.keys() <= point.redrawn.keys() for point in curve):
        count = min(len(point.redrawn[name]) for point in curve for name in margins)
        draws = [[{name: p.redrawn[name][i] for name in margins} for p in curve] for i in range(count)]
    else:
        rng = random.Random(0)
        draws = [[{name: rng.gauss(*p.losses[name]) for name in margins} for p in curve] for _ in range(DRAWS)]
    levels = [point.level for point in curve]
    last = _last(levels, [{name: p.losses[name][0] for name in margins} for p in curve], margins)
    found = sorted(_last(levels, losses, margins) for losses in draws)
    low, high = found[round(0.025 * (len(found) - 1))], found[round(0.975 * (len(found) - 1))]
    steep = knee([(p.level, p.losses[knee_of][0]) for p in curve])
    return DropOff(last, min(low, last), max(high, last), steep)


def _last(levels: Sequence[float], losses: Sequence[Mapping[str, float]], margins: Mapping[str, float]) -> float:
    last = 0.0
    for level, lost in zip(levels, losses, strict=True):
        if any(lost[name] > margin for name, margin in margins.items()):
            return last
        last = level
    return last


def knee(losses: Sequence[tuple[float, float]]) -> float:
    """Return where the curve `[(level, loss), …]`, in order of levels, is first half as steep as it ever becomes.

    That is the last level where it never falls at all.
    """
    points = [(0.0, 0.0), *((level, loss) for level, loss in losses if level > 0)]
    slopes = [((after - before) / (high - low), low) for (low, before), (high, after) in pairwise(points)]
    steepest = max(slope for slope, _ in slopes)
    if steepest <= 0:
        return losses[-1][0]
    return next(level for slope, level in slopes if slope >= steepest / 2)


def curve(dense: Record, records: Sequence[Record]) -> list[Point]:
    """Return the points of one method on one component, as paired differences from the dense run.

    All records must be of one workload. Raises HarnessError for records without paired values.
    """
    # Not at the top: collecting claims loads no torch.
    import torch

    from harness.quality.fid import picks

    chosen = picks(dense.quality["clip"].n)
    points = []
    for record in records:
        losses, redrawn = {}, {}
        for name in MARGINS:
            change = difference(name, dense, record)
            sign = 1 if name in LOWER_IS_BETTER else -1
            losses[name] = (sign * change.value, change.se)
            first, second = (torch.tensor(r.per_caption.get(name) or r.resampled[name]) for r in (dense, record))
            moved = sign * (second - first)
            if name in record.per_caption:
                redrawn[name] = moved[chosen].mean(1).tolist()
            else:
                # Ties in a resample shift every distance; what counts is how the resamples scatter.
                redrawn[name] = (sign * change.value + moved - moved.mean()).tolist()
        points.append(Point(max(record.requested.values()), losses, redrawn))
    return points
