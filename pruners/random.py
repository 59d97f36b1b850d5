"""Random pruning: the control that any method worth its name beats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer
from pruners.types import LayerStats, Pruned

GROUP = "layer"


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Score every weight uniformly at random, compare within the whole layer.

    weight: `[out, in]`, any float dtype, not changed. seed: of a CPU generator, so that every device prunes the same.
    stats is not used. Returns one `Pruned` per level. Raises ValueError for a weight that is NaN or infinite, a
    sparsity outside [0, 1] and a pattern that does not divide the layer.
    """
    if not torch.isfinite(weight).all():
        raise ValueError("a weight is NaN or infinite")
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(weight.numel(), generator=generator, dtype=torch.float64).to(weight.device)
    return by_layer(weight, scores.view(weight.shape), levels)
