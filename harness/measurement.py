"""A figure is never alone: value, standard error and n go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Measurement:
    """One figure of one case. value: in the metric's unit. se: its standard error. n: pictures it rests on."""

    value: float
    se: float
    n: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.se)):
            raise HarnessError(f"a measurement came out as {self.value} ± {self.se}: the pictures are degenerate")


def mean(records: Tensor) -> Measurement:
    """Return mean and standard error of per-picture records `[n]`. Raises HarnessError for fewer than two."""
    if len(records) < 2:
        raise HarnessError(f"{len(records)} picture is too few for a standard error; use at least two captions")
    values = records.double()
    return Measurement(values.mean().item(), (values.std() / math.sqrt(len(values))).item(), len(values))


def share(hits: Tensor) -> Measurement:
    """Return the share of True in bool `[n]`.

    The standard error is Agresti and Coull's, (k + 2) of (n + 4): it does not vanish when all or none are right.
    """
    n, k = len(hits), int(hits.sum())
    adjusted = (k + 2) / (n + 4)
    return Measurement(k / n, math.sqrt(adjusted * (1 - adjusted) / (n + 4)), n)


def averaged(values: Tensor, groups: Sequence[int] | None) -> Tensor:
    """Return the mean of every group of per-picture values `[n]`, float64 `[groups]`; the values where groups is None.

    What describes one thing is not independent: means over groups are, and carry an honest standard error.
    """
    import torch

    if groups is None:
        return values.double()
    of = torch.tensor(groups)
    sums = torch.zeros(int(of.max()) + 1, dtype=torch.float64).index_add_(0, of, values.double())
    return sums / torch.bincount(of)
