"""What every pruner takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from pruners.levels import Level


@dataclass(frozen=True)
class Pruned:
    """One layer at one level.

    keep: bool `[out, in]`, True = the weight survives. weight: `[out, in]`, the input's dtype, zero where not kept.
    """

    keep: Tensor
    weight: Tensor


@dataclass(frozen=True)
class LayerStats:
    """What calibration knows of a layer's inputs `X` `[rows, in]`, one row per token or patch; sums, so that it merges.

    A grouped convolution has `groups` problems of its own, each over its rows of the weight; every other layer has one.
    rows: how many input rows were seen. squares: float64 `[groups, in]`, the sum of squares of every input.
    gram: `XᵀX`, float32 or float64 `[groups, in, in]`, or None where no method asked for it.
    """

    rows: int
    squares: Tensor
    gram: Tensor | None = None


# (weight [out, in], statistics or None, levels, seed) → one `Pruned` per level.
Pruner = Callable[[Tensor, LayerStats | None, Sequence[Level], int], list[Pruned]]
