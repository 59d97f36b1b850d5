"""Magnitude pruning: prunes the smallest absolute weights (Han et al., arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer, masked, smallest_pruned
from pruners.stats import usable
from pruners.types import LayerStats, Pruned


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `|W|` of the whole layer.

    Differs: exactly `round(s * n)` weights are pruned, equal weights in the order of their index. The reference study's
    code prunes every weight up to the `int(n * s)`-th smallest, including all ties. Where `int(n * s)` is 0, it prunes
    the whole layer.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: Not used.
        levels: Sparsities and patterns. A pattern compares within groups of consecutive inputs.
        seed: Not used.

    Returns:
        One `Pruned` per level. Survivors keep their values.

    Raises:
        ValueError: A weight is NaN or infinite, a sparsity is outside [0, 1], or a pattern does not divide the layer.
    """
    weight = usable(weight)
    return by_layer(weight, weight.abs(), levels)


def prune_rows(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `|W|` of every row (output). Arguments, result and errors are those of `prune`."""
    weight = usable(weight)
    return [masked(weight, keep) for keep in smallest_pruned(weight.abs(), levels)]
