"""A figure is never alone: value, standard error and n go together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

# Digits behind these come from the rounding of float32.
MOST_DECIMALS = 6
FEW = 32
"""The number of captions below which figures show change only."""


@dataclass(frozen=True)
class Measurement:
    """One figure of one case.

    Raises:
        HarnessError: Value or standard error is not finite.
    """

    value: float
    """The figure, in the metric's unit."""
    se: float
    """Its standard error, in the same unit."""
    n: int
    """How many pictures it rests on; for latency, how many rounds."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.se)):
            raise HarnessError(
                f"a figure is {self.value} ± {self.se}: the pictures are degenerate; look at them with --images DIR"
            )


def decimals(figures: Iterable[tuple[float, float]], least: int) -> int:
    """Return how many decimals show two digits of the largest standard error, or of the largest value without one.

    Args:
        figures: Values, each with its standard error.
        least: The fewest decimals. `MOST_DECIMALS` are the most.
    """
    known = list(figures)
    size = max((se for _, se in known), default=0.0) or max((abs(value) for value, _ in known), default=0.0)
    if size < 0.5 * 10**-MOST_DECIMALS:
        return least
    return max(least, min(MOST_DECIMALS, 1 - math.floor(math.log10(size))))


def mean(values: Tensor) -> Measurement:
    """Return the mean of values `[n]`, one per picture, with its standard error.

    Raises:
        HarnessError: There are fewer than two values.
    """
    if len(values) < 2:
        raise HarnessError(f"--captions: {len(values)} picture is too few for a standard error; use 2 or more captions")
    precise = values.double()
    return Measurement(precise.mean().item(), (precise.std() / math.sqrt(len(precise))).item(), len(precise))


def share(hits: Tensor) -> Measurement:
    """Return the share of True in bool `[n]`, with its standard error.

    The standard error is Agresti and Coull's, (k + 2) of (n + 4): it stays above 0 when all or none are True.
    """
    n, k = len(hits), int(hits.sum())
    adjusted = (k + 2) / (n + 4)
    return Measurement(k / n, math.sqrt(adjusted * (1 - adjusted) / (n + 4)), n)


def averaged(values: Tensor, groups: Sequence[int] | None) -> Tensor:
    """Return the mean of every group of values.

    Several captions may describe one real picture. Their values depend on each other; the means of the groups do not,
    so the standard error of their mean is right.

    Args:
        values: One value per picture, `[n]`.
        groups: The group of every value, numbered from 0; None: every value is a group of its own.

    Returns:
        float64 `[groups]`, in the order of the numbers.
    """
    import torch

    if groups is None:
        return values.double()
    of = torch.tensor(groups)
    sums = torch.zeros(int(of.max()) + 1, dtype=torch.float64).index_add_(0, of, values.double())
    return sums / torch.bincount(of)
