"""Magnitude pruning: the smallest absolute weights go (Han et al., arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer
from pruners.types import LayerStats, Pruned

GROUP = "layer"


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Score `|W|`, compare within the whole layer.

    weight: `[out, in]`, any float dtype, not changed. stats and seed are not used. Returns one `Pruned` per level.
    Raises ValueError for a weight that is NaN or infinite, a sparsity outside [0, 1] and a pattern that does not
    divide the layer.
    Differs: exactly `round(s * n)` weights are pruned; the reference study's code prunes one more, and every tie.
    """
    return by_layer(weight, weight.abs(), levels)
