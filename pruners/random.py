"""Random pruning: the control that a useful method must beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level
from pruners.select import by_layer
from pruners.stats import usable
from pruners.types import LayerStats, Pruned


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Give every weight of the layer a uniform random score, and prune the smallest scores.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: Not used.
        levels: Sparsities and patterns. A pattern compares within groups of consecutive inputs.
        seed: Seed of a CPU generator, so that every device prunes the same weights.

    Returns:
        One `Pruned` per level. Survivors keep their values.

    Raises:
        ValueError: A weight is NaN or infinite, a sparsity is outside [0, 1], or a pattern does not divide the layer.
    """
    weight = usable(weight)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(weight.numel(), generator=generator, dtype=torch.float64).to(weight.device)
    return by_layer(weight, scores.view(weight.shape), levels)
