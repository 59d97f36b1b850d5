"""Where quality drops off: the last level that holds, how sure that is, and where the steep part begins."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.record import Record
from harness.verdict.baselines import LOWER_IS_BETTER
from harness.verdict.statistics import difference

# What may be lost before quality no longer "holds": FID, and CLIP score on the scale of 100·cos.
MARGINS = {"fid": 2.0, "clip": 0.5}
DRAWS = 2000


@dataclass(frozen=True)
class Point:
    """One level of a curve. losses: metric → (how much worse than dense, its standard error)."""

    level: float
    losses: Mapping[str, tuple[float, float]]


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
    """Find the drop-off of a curve. The interval redraws every loss from a normal distribution, 2,000 times, seeded.

    Losses of neighbouring levels are drawn independently, though they share captions: the interval is then rather too
    wide than too narrow. It knows no levels but those of the curve. Raises HarnessError for fewer than three points.
    """
    if len(points) < 3:
        raise HarnessError(f"a drop-off wants three levels or more, found {len(points)}")
    curve = sorted(points, key=lambda point: point.level)
    rng = random.Random(0)
    found = sorted(_last(curve, margins, rng) for _ in range(DRAWS))
    low, high = found[round(0.025 * (DRAWS - 1))], found[round(0.975 * (DRAWS - 1))]
    return DropOff(_last(curve, margins, None), low, high, knee([(p.level, p.losses[knee_of][0]) for p in curve]))


def _last(curve: Sequence[Point], margins: Mapping[str, float], rng: random.Random | None) -> float:
    last = 0.0
    for point in curve:
        for name, margin in margins.items():
            loss, se = point.losses[name]
            if (loss if rng is None else rng.gauss(loss, se)) > margin:
                return last
        last = point.level
    return last


def knee(losses: Sequence[tuple[float, float]]) -> float:
    """Return where the curve `[(level, loss), …]`, in order of levels, is first half as steep as it ever becomes."""
    slopes = [
        ((after - before) / (high - low), low)
        for (low, before), (high, after) in zip([(0.0, 0.0), *losses], losses, strict=False)
    ]
    steepest = max(slope for slope, _ in slopes)
    return next(level for slope, level in slopes if slope >= steepest / 2)


def curve(dense: Record, records: Sequence[Record]) -> list[Point]:
    """Return the points of one method on one component, as paired differences from the dense run."""
    points = []
    for record in records:
        losses = {}
        for name in MARGINS:
            change = difference(name, dense, record)
            losses[name] = (change.value if name in LOWER_IS_BETTER else -change.value, change.se)
        points.append(Point(max(record.requested.values()), losses))
    return points
