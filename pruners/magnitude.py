"""Magnitude pruning: the smallest absolute weights go (Han et al., arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pruners.select import smallest_pruned
from pruners.types import LayerStats, Pruned


def prune(weight: Tensor, stats: LayerStats | None, sparsities: Sequence[float], seed: int) -> list[Pruned]:
    """Score `|W|`, compare within the whole layer.

    weight: `[out, in]`, any float dtype, not changed. stats and seed are not used. Returns one `Pruned` per sparsity.
    Raises ValueError for a weight that is NaN or infinite and for a sparsity outside [0, 1].
    Differs: exactly `round(s * n)` weights are pruned; the reference study's code prunes one more, and every tie.
    """
    keeps = smallest_pruned(weight.abs().reshape(1, -1), sparsities)
    return [Pruned(keep.view_as(weight), weight.where(keep.view_as(weight), 0)) for keep in keeps]
