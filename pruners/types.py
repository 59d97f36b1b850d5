"""The types that every pruner takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Pruner = Callable[[Tensor, LayerStats | None, Sequence[Level], int], list[Pruned]]
"""A pruner: (weight `[out, in]`, statistics or None, levels, seed) → one `Pruned` per level."""
