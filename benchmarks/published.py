"""The published algorithms, in their authors' order of work. The pruning core is compared with them.

The authors prune one level at a time, and one column at a time. Counts and groups are ours. The exception is
`study_magnitude`, which is the reference study's own rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128


def sparsegpt(
    weight: Tensor, gram: Tensor, sparsity: float, ratios: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Prune by algorithm 1 of arXiv 2301.00774, one column after the other.

    Args:
        weight: `[out, in]`, float32 or float64.
        gram: `XᵀX`, `[in, in]` in the same dtype, without dead columns.
        sparsity: From 0 to 1.
        ratios: Gets one matrix per block, `[out, columns]`: every score, divided by the largest score that is pruned.
            None: they are not wanted.

    Returns:
        Keep mask and new weight, `[out, in]`.
    """
    w, hessian = weight.clone(), gram.clone()
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    upper = factor(hessian)
    size = w.shape[1]
    keep = torch.ones_like(w, dtype=torch.bool)
    for first in range(0, size, BLOCK):
        last = min(first + BLOCK, size)
        block, u = w[:, first:last].clone(), upper[first:last, first:last]
        scores = block.square() / u.diagonal().square()
        flat = scores.flatten()
        order = torch.sort(flat, stable=True).indices[: round(sparsity * len(flat))]
        gone = torch.zeros_like(flat, dtype=torch.bool).index_fill_(0, order, True).view_as(scores)
        if ratios is not None:
            ratios.append(scores / scores[gone].max())
        new, errors = torch.zeros_like(block), torch.zeros_like(block)
        for i in range(last - first):
            column, pivot = block[:, i], u[i, i]
            kept = column.clone()
            kept[gone[:, i]] = 0
            new[:, i] = kept
            error = (column - kept) / pivot
            block[:, i:] -= error.unsqueeze(1).matmul(u[i, i:].unsqueeze(0))
            errors[:, i] = error
        w[:, first:last], keep[:, first:last] = new, ~gone
        w[:, last:] -= errors.matmul(upper[first:last, last:])
    return keep, w


def first_difference(weight: Tensor, gram: Tensor, sparsity: float, keep: Tensor) -> float:
    """Return how far from a threshold the first weights are that another order of work prunes differently.

    Two weights whose scores are within rounding of a block's threshold may change places. Weights behind them then
    compensate other errors, and their masks differ for no other reason. So the first block with a difference shows
    whether rounding began it.

    Args:
        weight: As for `sparsegpt`.
        gram: As for `sparsegpt`.
        sparsity: As for `sparsegpt`, above 0.
        keep: The other keep mask, bool `[out, in]`.

    Returns:
        The largest distance of their scores from the largest pruned score, as a share of it; 0 for equal masks.
    """
    ratios: list[Tensor] = []
    differ = sparsegpt(weight, gram, sparsity, ratios)[0] != keep
    blocks = zip(torch.split(differ, BLOCK, 1), ratios, strict=True)
    return next((float((ratio[part] - 1).abs().max()) for part, ratio in blocks if part.any()), 0.0)


def factor(hessian: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse of `[in, in]`: factor, invert, factor again."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper


def wanda(weight: Tensor, squares: Tensor, sparsity: float) -> tuple[Tensor, Tensor]:
    """Prune by equation 1 of arXiv 2306.11695, with a sort for every sparsity.

    Args:
        weight: `[out, in]`.
        squares: Sums of squares of the inputs, `[in]`.
        sparsity: From 0 to 1.

    Returns:
        Keep mask and new weight, `[out, in]`.
    """
    scores = weight.abs() * squares.sqrt()
    order = torch.sort(scores, dim=-1, stable=True).indices[:, : round(sparsity * weight.shape[1])]
    keep = torch.ones_like(weight, dtype=torch.bool).scatter_(1, order, False)
    return keep, weight.where(keep, 0)


def wanda_pattern(weight: Tensor, squares: Tensor, kept: int, of: int) -> tuple[Tensor, Tensor]:
    """Prune by an N:M pattern, one group of columns after the other; see `wanda`."""
    scores = weight.abs() * squares.sqrt()
    keep = torch.ones_like(weight, dtype=torch.bool)
    for first in range(0, weight.shape[1], of):
        smallest = torch.topk(scores[:, first : first + of], of - kept, dim=1, largest=False).indices
        keep.scatter_(1, first + smallest, False)
    return keep, weight.where(keep, 0)


def study_magnitude(weight: Tensor, sparsity: float) -> Tensor:
    """Return the keep mask `[out, in]` of the reference study's own magnitude pruning (arXiv 2411.15113)."""
    scores = weight.abs()
    threshold = torch.sort(scores.flatten()).values[int(weight.numel() * sparsity) - 1]
    return scores > threshold


def gram(x: Tensor) -> Tensor:
    """Return the Gram matrix `[9 c, 9 c]` of the 3×3 patches of `x` `[n, c, h, w]`, unfolded and multiplied."""
    rows = torch.nn.functional.unfold(x, 3, padding=1).permute(0, 2, 1).flatten(0, 1)
    return rows.T @ rows


def swaps(weight: Tensor, gram: Tensor, keep: Tensor, rounds: int) -> Tensor:
    """Make the best of all swaps of every row, one row after the other (SparseSwaps, arXiv 2512.10922).

    Args:
        weight: `[out, in]`, float32 or float64.
        gram: `XᵀX`, `[in, in]` in the same dtype.
        keep: The keep mask to start from, bool `[out, in]`.
        rounds: The most swaps of a row.

    Returns:
        The keep mask, `[out, in]`.
    """
    final = keep.clone()
    diagonal = gram.diagonal()
    for w, kept in zip(weight, final, strict=True):
        for _ in range(rounds):
            c = gram @ w.where(~kept, 0)
            goes = (2 * w * c + w.square() * diagonal).where(kept, torch.inf)
            comes = (w.square() * diagonal - 2 * w * c).where(~kept, torch.inf)
            change = goes[:, None] + comes - 2 * w[:, None] * w * gram
            best = int(change.argmin())
            if float(change.flatten()[best]) >= 0:
                break
            kept[best // len(w)], kept[best % len(w)] = False, True
    return final
