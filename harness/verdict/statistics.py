"""Is a change real, is it large, and could it have been seen: the decision rule for paired measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from harness.errors import HarnessError
from harness.record import Record

PASS, REGRESSION, IMPROVED, UNDERPOWERED = "PASS", "REGRESSION", "IMPROVED", "UNDERPOWERED"
# How often a change as large as the tolerance is to be told from no change at all.
POWER = 0.80
# The chance that a run of the whole matrix with nothing changed shows one false REGRESSION or IMPROVED, and how many
# comparisons share it: cases of the full tier, times quality metrics, times two directions. Each item decides by this
# constant alone, so that `-k`, `-x` and the order of cases change nothing.
FALSE_ALARMS = 0.01
COMPARISONS = 3560
ALPHA = FALSE_ALARMS / COMPARISONS


@dataclass(frozen=True)
class Difference:
    """After less before, over the same captions and starting noise. se: of the difference.

    n: the captions, or for FID the resamples where those are fewer: what the standard error rests on.
    """

    value: float
    se: float
    n: int


def difference(name: str, before: Record, after: Record) -> Difference:
    """Return how a metric moved, paired by caption; for FID, paired by bootstrap resample.

    Both must be over the same captions, which is for the caller to know. Raises HarnessError where their numbers
    differ, or where a record was written without them.
    """
    counts = {r.quality[name].n if name in r.quality else 0 for r in (before, after)}
    first, second = (r.per_caption.get(name) or r.resampled.get(name) or [] for r in (before, after))
    if len(counts) != 1 or 0 in counts or len(first) != len(second) or len(first) < 2:
        raise HarnessError(
            f"{after.case}: {name} has {len(first)} and {len(second)} paired values, wanted as many, two or more; "
            "measure both runs with this version and the same --captions"
        )
    changes = [b - a for a, b in zip(first, second, strict=True)]
    average = math.fsum(changes) / len(changes)
    spread = math.sqrt(math.fsum((c - average) ** 2 for c in changes) / (len(changes) - 1))
    # Resamples spread like the metric itself, captions like its parts.
    se = spread if name in after.resampled else spread / math.sqrt(len(changes))
    return Difference(after.quality[name].value - before.quality[name].value, se, min(*counts, len(changes)))


def decide(worse_by: float, se: float, noise: float, tolerance: float, alpha: float, n: int) -> str:
    """Return the verdict on one metric.

    worse_by: the change in the bad direction. noise: standard deviation of the figure when nothing has changed.
    REGRESSION and IMPROVED: the change exceeds the tolerance, and one as large would come by chance with a probability
    below alpha (one-sided t with n - 1 degrees of freedom). UNDERPOWERED: neither, and a change as large as the
    tolerance would not be told from none four times in five (normal approximation). A change of just the tolerance
    measures below it half the time, so what is found four times in five is the tolerance and 0.84 standard errors.
    """
    total = math.hypot(se, noise)
    for change, verdict in ((worse_by, REGRESSION), (-worse_by, IMPROVED)):
        if change > tolerance and p_value(change, se, noise, n) < alpha:
            return verdict
    normal = NormalDist()
    least = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * total
    return UNDERPOWERED if least > tolerance else PASS


def p_value(change: float, se: float, noise: float, n: int) -> float:
    """Return how likely a change as large, in this direction, is by chance: one-sided, see `decide`."""
    total = math.hypot(se, noise)
    return tail(abs(change) / total, n - 1) if total else 0.0


def shaky(se: float, noise: float, tolerance: float) -> bool:
    """Return whether a mean that has not moved hides much that has.

    True where a change as large as the tolerance would not be told from none four times in five, even at the usual
    5 %: the pictures' scores move against each other far more than noise moves them.
    """
    normal = NormalDist()
    return (normal.inv_cdf(0.95) + normal.inv_cdf(POWER)) * math.hypot(se, noise) > tolerance


def tail(t: float, degrees: int) -> float:
    """Return the probability that Student's t with so many degrees of freedom exceeds `t`.

    With t = √ν tan θ the density is proportional to cos^(ν-1) θ, which Simpson's rule integrates over both sides of t.
    """
    if t < 0:
        return 1 - tail(-t, degrees)
    angle = math.atan(t / math.sqrt(degrees))
    below, above = (_simpson(low, high, degrees) for low, high in ((0.0, angle), (angle, math.pi / 2)))
    return 0.5 * above / (below + above)


def _simpson(low: float, high: float, degrees: int, steps: int = 2000) -> float:
    width = (high - low) / steps
    heights = [max(0.0, math.cos(low + i * width)) ** (degrees - 1) for i in range(steps + 1)]
    return width / 3 * (heights[0] + 4 * math.fsum(heights[1::2]) + 2 * math.fsum(heights[2:-1:2]) + heights[-1])
