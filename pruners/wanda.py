"""Wanda: weights and the size of their inputs (Sun et al., arXiv 2306.11695, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level
from pruners.select import masked, smallest_pruned
from pruners.stats import fitting, norms, working
from pruners.types import LayerStats, Pruned

GROUP = "row"
NEEDS = "squares"


def scores(weight: Tensor, stats: LayerStats) -> Tensor:
    """Return `|W_ij| · ‖X_j‖₂` as `[out, in]`, float32, or float64 for float64 weights.

    weight: `[out, in]`. Raises ValueError for a weight that is NaN or infinite and for statistics that do not fit.
    """
    if not torch.isfinite(weight).all():
        raise ValueError("a weight is NaN or infinite")
    stats = fitting(weight, stats)
    groups, size = stats.squares.shape
    found = weight.to(working(weight.dtype)).abs().reshape(groups, -1, size) * norms(weight, stats)
    return found.view(weight.shape)


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `|W_ij| · ‖X_j‖₂`, the same count in every row (output).

    weight: `[out, in]`, any float dtype, not changed. stats: sums of squares of the inputs. seed is not used. Returns
    one `Pruned` per level; survivors keep their values. Raises ValueError for a weight or an input that is NaN or
    infinite, missing or misshapen statistics, a sparsity outside [0, 1] and a pattern that does not divide the layer.
    """
    found = scores(weight, fitting(weight, stats))
    return [masked(weight, keep) for keep in smallest_pruned(found, levels)]
