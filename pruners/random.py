"""Random pruning: the control that any method worth its name beats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.select import smallest_pruned
from pruners.types import LayerStats, Pruned


def prune(weight: Tensor, stats: LayerStats | None, sparsities: Sequence[float], seed: int) -> list[Pruned]:
    """Score every weight uniformly at random, compare within the whole layer.

    weight: `[out, in]`, any float dtype, not changed. seed: of a CPU generator, so that every device prunes the same.
    stats is not used. Returns one `Pruned` per sparsity. Raises ValueError for a weight that is NaN or infinite and for
    a sparsity outside [0, 1].
    """
    if not torch.isfinite(weight).all():
        raise ValueError("a weight is NaN or infinite")
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(weight.numel(), generator=generator, dtype=torch.float64).to(weight.device)
    keeps = smallest_pruned(scores.view(1, -1), sparsities)
    return [Pruned(keep.view(weight.shape), weight.where(keep.view(weight.shape), 0)) for keep in keeps]
