"""From scores to keep masks: exactly k weights of each comparison group are pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def count(sparsity: float, size: int) -> int:
    """Return how many of `size` weights a sparsity prunes: `round(sparsity * size)`, halves up.

    Raises ValueError for a sparsity that is not a number in [0, 1].
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity is {sparsity}, wanted a number from 0 to 1")
    # The product of 0.35 and 20 is 7.000000000000001 or 6.999999999999999: look past the last digits.
    return math.floor(round(sparsity * size, 6) + 0.5)


def smallest_pruned(scores: Tensor, sparsities: Sequence[float]) -> list[Tensor]:
    """Return one keep mask per sparsity: in every row of `scores` the k smallest are pruned.

    scores: `[groups, size]`, any float dtype; ties go to the lower index, so that the masks of rising sparsities nest.
    Returns bool `[groups, size]` each, True = survives. Raises ValueError where a score is NaN or infinite.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("a score is NaN or infinite")
    size = scores.shape[1]
    order = scores.argsort(dim=1, stable=True)
    keeps = []
    for sparsity in sparsities:
        keep = torch.ones_like(scores, dtype=torch.bool)
        keep.scatter_(1, order[:, : count(sparsity, size)], value=False)
        keeps.append(keep)
    return keeps
