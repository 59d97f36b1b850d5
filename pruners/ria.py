"""RIA: weights beside their row and column, times the size of their inputs (Zhang et al., Plug-and-Play, ICLR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer, masked, smallest_pruned
from pruners.stats import fitting, norms, usable, working
from pruners.types import LayerStats, Pruned

# The power of the inputs' norms.
POWER = 0.5


def scores(weight: Tensor, stats: LayerStats | None) -> Tensor:
    """Return `(|W_ij| / Σ_i |W_ij| + |W_ij| / Σ_j |W_ij|) · ‖X_j‖₂^½`. A column or row of zeros adds nothing.

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
    sizes = weight.to(working(weight.dtype)).abs().reshape(groups, -1, size)
    columns, rows = sizes.sum(1, keepdim=True), sizes.sum(2, keepdim=True)
    # A sum of zero belongs to zeros only, which score 0 whatever they are divided by.
    relative = sizes / columns.where(columns > 0, 1) + sizes / rows.where(rows > 0, 1)
    return (relative * norms(weight, stats) ** POWER).view(weight.shape)


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest scores of the whole layer.

    Differs: inputs are not permuted between the groups of an N:M pattern. Statistics come from the dense model.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: Sums of squares of the layer's inputs.
        levels: Sparsities and patterns. A pattern compares within groups of consecutive inputs.
        seed: Not used.

    Returns:
        One `Pruned` per level. Survivors keep their values.

    Raises:
        ValueError: A weight or an input is NaN or infinite, the statistics are missing or do not fit, a sparsity is
            outside [0, 1], or a pattern does not divide the layer.
    """
    return by_layer(weight.detach(), scores(weight, stats), levels)


def prune_rows(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest scores of every row (output). Arguments, result and errors are those of `prune`."""
    table = scores(weight, stats)
    return [masked(weight.detach(), keep) for keep in smallest_pruned(table, levels)]
