"""Reconstruction: the best values of the surviving weights for a given mask (Boža, arXiv 2401.02938)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level
from pruners.sparsegpt import DAMPING
from pruners.stats import finite, fitting, usable, working
from pruners.types import LayerStats, Pruned

# The most steps of the solver.
STEPS = 300
# A row is solved when its residual has fallen to this share.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def refine(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], pruned: Sequence[Pruned]) -> list[Pruned]:
    """Give the surviving weights the values that minimise the layer's error, for the mask as it is.

    The error of a row is `(w' - w)ᵀ (G + λ) (w' - w)`, where λ is 1 % of the mean diagonal of `G`, as in SparseGPT. The
    smallest error is reached by conjugate gradients on the surviving weights. They start at the values of the pruner,
    and no step raises the error. A row without pruned weights stays as it is.

    Differs: the paper iterates ADMM with a damping of its own. Both converge to the same least squares.

    Args:
        weight: The dense weight `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: The Gram matrix of the layer's inputs.
        levels: Not used: the masks say what is pruned.
        pruned: The masks and the values to start from, one per level. They are not changed.

    Returns:
        One `Pruned` per level, with the masks as they were.

    Raises:
        ValueError: A weight or an input is NaN or infinite, the statistics are missing or do not fit, or a new weight
            does not fit into the weight's dtype.
    """
    weight = usable(weight)
    stats = fitting(weight, stats, gram=True)
    assert stats.gram is not None
    groups, size = stats.squares.shape
    by_group = weight.to(working(weight.dtype)).contiguous().reshape(groups, -1, size)
    hessians = [damped(gram) for gram in stats.gram.to(by_group)]
    refined = []
    for one in pruned:
        # Sums are rounded in an order that follows the strides.
        starts, keeps = (part.contiguous().reshape(groups, -1, size) for part in (one.weight.to(by_group), one.keep))
        parts = [_solved(*part) for part in zip(by_group, hessians, keeps, starts, strict=True)]
        changed = torch.cat(parts).to(weight.dtype)
        if not finite(changed):
            raise ValueError(
                f"a reconstructed weight does not fit into {weight.dtype}; use a method that keeps the values of "
                "weights (wanda, magnitude)"
            )
        refined.append(Pruned(one.keep, changed))
    return refined


def damped(gram: Tensor) -> Tensor:
    """Return `G + λ`, with λ = 1 % of the mean diagonal of `G` over inputs that are not always zero; 1 if all are zero.

    Args:
        gram: `[in, in]`.
    """
    diagonal = gram.diagonal()
    live = diagonal[diagonal != 0]
    hessian = gram.clone()
    hessian.diagonal().add_(DAMPING * float(live.mean()) if len(live) else 1.0)
    return hessian


def _solved(weight: Tensor, hessian: Tensor, keep: Tensor, start: Tensor) -> Tensor:
    """Return the surviving weights of one group's rows, `[out, in]`, zero where `keep` is False.

    Args:
        weight: The dense rows `[out, in]`.
        hessian: `[in, in]`, positive definite.
        keep: bool `[out, in]`.
        start: The values to start from `[out, in]`, zero where `keep` is False.
    """
    final, rows, scale = start.clone(), torch.arange(len(weight), device=weight.device), hessian.diagonal()
    x, kept = start.clone(), keep
    residual = ((weight - start) @ hessian).where(kept, 0)
    direction = residual / scale
    left = (residual * direction).sum(1, keepdim=True)
    enough = left * TOLERANCE[weight.dtype] ** 2
    for _ in range(STEPS):
        going = (left > enough)[:, 0]
        if not going.all():
            final[rows] = x
            rows, x, kept, residual, direction, left, enough = (
                part[going] for part in (rows, x, kept, residual, direction, left, enough)
            )
        if not len(rows):
            return final
        turned = (direction @ hessian).where(kept, 0)
        step = left / (direction * turned).sum(1, keepdim=True)
        x += step * direction
        residual -= step * turned
        before, steered = left, residual / scale
        left = (residual * steered).sum(1, keepdim=True)
        direction = steered + left / before * direction
    final[rows] = x
    return final
