"""What every pruner takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pruned:
    """One layer at one sparsity.

    keep: bool `[out, in]`, True = the weight survives. weight: `[out, in]`, the input's dtype, zero where not kept.
    """

    keep: Tensor
    weight: Tensor


@dataclass(frozen=True)
class LayerStats:
    """What calibration knows of a layer's inputs; the data-free methods need none.

    rows: how many input rows were seen. squares: float64 `[in]`, the sum of squares of every input.
    """

    rows: int
    squares: Tensor


# (weight [out, in], statistics or None, sparsities in [0, 1], seed) → one `Pruned` per sparsity.
Pruner = Callable[[Tensor, LayerStats | None, Sequence[float], int], list[Pruned]]
