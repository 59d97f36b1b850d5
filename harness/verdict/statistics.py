"""The decision rule for paired measurements: is a change real, is it large, and could these captions show it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from harness.errors import HarnessError
from harness.metrics.metric import Metric
from harness.record import Measured

PASS, REGRESSION, IMPROVED, UNDERPOWERED = "PASS", "REGRESSION", "IMPROVED", "UNDERPOWERED"
# The required probability to notice a change as large as the tolerance.
POWER = 0.80
# The chance that a run of all stored cases shows a false REGRESSION or IMPROVED although nothing has changed. All
# comparisons share it evenly, see `Repository.comparisons`. So the verdict on a case does not depend on `-k`, `-x` or
# the order of cases.
FALSE_ALARMS = 0.01
# Number of digits of a keep digest. A sketch of keep masks has more.
DIGEST_DIGITS = 64


@dataclass(frozen=True)
class Difference:
    """The change of a figure between two runs over the same captions and start noise."""

    value: float
    """After minus before, in the metric's unit."""
    se: float
    """Standard error of the difference."""
    n: int
    """Number of values behind the standard error: of captions, or of resamples where those are fewer."""


def difference(metric: Metric, before: Measured, after: Measured) -> Difference:
    """Return the change of a metric, paired by caption or by resample.

    Args:
        metric: The metric.
        before: The earlier run or the baseline.
        after: The later run. The caller makes sure that both have the same workload.

    Raises:
        HarnessError: The two have different numbers of pictures or of paired values, or fewer than two.
    """
    name = metric.name
    counts = {side.quality[name].n if name in side.quality else 0 for side in (before, after)}
    first, second = (side.paired.get(name, []) for side in (before, after))
    if len(counts) != 1 or 0 in counts or len(first) != len(second) or len(first) < 2:
        raise HarnessError(
            f"{after.case.id}: {name} has {len(first)} paired values before and {len(second)} now; a comparison needs "
            "equally many, two or more. Measure both runs with this version and the same --captions"
        )
    changes = [b - a for a, b in zip(first, second, strict=True)]
    value = after.quality[name].value - before.quality[name].value
    return Difference(value, standard_error(metric, changes), min(*counts, len(changes)))


def standard_error(metric: Metric, changes: Sequence[float]) -> float:
    """Return the standard error of a metric's change, from its paired changes: two or more."""
    average = math.fsum(changes) / len(changes)
    spread = math.sqrt(math.fsum((c - average) ** 2 for c in changes) / (len(changes) - 1))
    # Resamples vary as much as the metric itself; values per caption vary more, and the metric is their mean.
    return spread if metric.pairing == "resample" else spread / math.sqrt(len(changes))


def decide(worse_by: float, se: float, noise: float, tolerance: float, alpha: float, n: int) -> str:
    """Return the verdict on one metric.

    REGRESSION and IMPROVED: the change exceeds the tolerance, and chance alone gives such a change with a probability
    below alpha (one-sided t with n - 1 degrees of freedom).

    UNDERPOWERED: neither of these, and either the change exceeds the tolerance, or the power to notice a change as
    large as the tolerance is below 80 % (normal approximation).

    PASS: all else.

    Args:
        worse_by: The change in the bad direction.
        se: Standard error of the change.
        noise: Standard deviation of the figure when nothing has changed.
        tolerance: How far the figure may move.
        alpha: The allowed probability of a false alarm of this one comparison.
        n: Number of values behind the standard error.
    """
    total = math.hypot(se, noise)
    for change, verdict in ((worse_by, REGRESSION), (-worse_by, IMPROVED)):
        if change > tolerance and p_value(change, se, noise, n) < alpha:
            return verdict
    normal = NormalDist()
    least = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * total
    return UNDERPOWERED if max(least, abs(worse_by)) > tolerance else PASS


def p_value(change: float, se: float, noise: float, n: int) -> float:
    """Return the probability that chance alone gives such a change in this direction: one-sided, see `decide`."""
    total = math.hypot(se, noise)
    return tail(abs(change) / total, n - 1) if total else 0.0


def shaky(se: float, noise: float, tolerance: float) -> bool:
    """Return whether the mean may hide a change.

    True where the power to notice a change as large as the tolerance is below 80 % even at the 5 % level. Single
    pictures have then changed far more than noise changes them.
    """
    normal = NormalDist()
    return (normal.inv_cdf(0.95) + normal.inv_cdf(POWER)) * math.hypot(se, noise) > tolerance


def tail(t: float, degrees: int) -> float:
    """Return the probability that Student's t with `degrees` degrees of freedom exceeds `t`."""
    # Not at the top: collecting cases loads no scipy. `scipy.stats` takes three times as long to import.
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))


def different_bits(first: str, second: str) -> tuple[int, int]:
    """Return the number of bits in which two hexadecimal texts differ, and the number of all bits.

    Where the lengths differ, all bits of the longer text differ.
    """
    bits = 4 * max(len(first), len(second))
    if len(first) != len(second):
        return bits, bits
    return (int(first or "0", 16) ^ int(second or "0", 16)).bit_count(), bits
