"""Wanda: weights times the size of their inputs (Sun et al., arXiv 2306.11695, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer, masked, smallest_pruned
from pruners.stats import fitting, norms, usable, working
from pruners.types import LayerStats, Pruned


def scores(weight: Tensor, stats: LayerStats | None) -> Tensor:
    """Return `|W_ij| · ‖X_j‖₂`.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`.
        stats: Sums of squares of the layer's inputs.

    Returns:
        `[out, in]` in float32; float64 for float64 weights and for inputs beyond the range of float32 products.

    Raises:
        ValueError: A weight is NaN or infinite, or the statistics are missing or do not fit.
    """
    weight = usable(weight)
    stats = fitting(weight, stats)
    groups, size = stats.squares.shape
    products = weight.to(working(weight.dtype)).abs().reshape(groups, -1, size) * norms(weight, stats)
    return products.view(weight.shape)


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `|W_ij| · ‖X_j‖₂`, the same count in every row (output).

    Differs: statistics come from the dense model. The published code takes the inputs of a block from the blocks that
    it has already pruned.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: Sums of squares of the layer's inputs.
        levels: Sparsities and patterns.
        seed: Not used.

    Returns:
        One `Pruned` per level. Survivors keep their values.

    Raises:
        ValueError: A weight or an input is NaN or infinite, the statistics are missing or do not fit, a sparsity is
            outside [0, 1], or a pattern does not divide the layer.
    """
    table = scores(weight, stats)
    return [masked(weight.detach(), keep) for keep in smallest_pruned(table, levels)]


def prune_layer(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `|W_ij| · ‖X_j‖₂` of the whole layer. Arguments, result and errors are those of `prune`."""
    return by_layer(weight.detach(), scores(weight, stats), levels)
