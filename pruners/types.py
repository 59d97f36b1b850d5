"""The types that pruners, allocations and refiners take and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pruners.levels import Level


@dataclass(frozen=True)
class Pruned:
    """One layer, pruned at one level."""

    keep: Tensor
    """bool `[out, in]`: True where the weight survives."""
    weight: Tensor
    """`[out, in]` in the dtype of the layer's weight: zero where `keep` is False."""


@dataclass(frozen=True)
class LayerStats:
    """Statistics of a layer's inputs `X` `[rows, in]`, with one row per token or patch. All are sums, so they merge.

    A grouped convolution has one problem per group, each with its own rows of the weight. Other layers have one group.
    """

    rows: int
    """Number of input rows, per group."""
    squares: Tensor
    """float64 `[groups, in]`: the sum of squares of every input."""
    gram: Tensor | None = None
    """`XᵀX`, float32 or float64 `[groups, in, in]`; None where no method needs the Gram matrix."""
    sums: Tensor | None = None
    """float64 `[groups, in]`: the sum of every input; None where no method needs it."""


@dataclass(frozen=True)
class LayerFacts:
    """The facts of one layer that an allocation may read."""

    weight: Tensor
    """The layer's weight, `[out, in]`."""
    stats: LayerStats | None
    """The statistics of the layer's inputs; None for methods that read none."""
    block: str
    """The name of the network block that holds the layer. A layer outside of all blocks is its own block."""


class LayerRefused(ValueError):
    """One layer makes the allocation impossible."""

    def __init__(self, layer: str, reason: str) -> None:
        """layer: the layer's name. reason: the reason, as pruners word it."""
        super().__init__(f"{layer}: {reason}")
        self.layer, self.reason = layer, reason


Pruner = Callable[[Tensor, LayerStats | None, Sequence[Level], int], list[Pruned]]
"""A pruner: (weight `[out, in]`, statistics or None, levels, seed) → one `Pruned` per level."""

Refiner = Callable[[Tensor, LayerStats | None, Sequence[Level], Sequence[Pruned]], list[Pruned]]
"""A refiner: (weight `[out, in]`, statistics or None, levels, what a pruner returned) → one `Pruned` per level."""

Allocation = Callable[[Mapping[str, LayerFacts], float], dict[str, float]]
"""An allocation: (layer → facts, sparsity) → layer → sparsity."""
