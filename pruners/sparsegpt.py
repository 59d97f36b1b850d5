"""SparseGPT: prune column by column, and let later columns make up for it (arXiv 2301.00774, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.select import count, divides, smallest_pruned
from pruners.stats import fitting, working
from pruners.types import LayerStats, Pruned

GROUP = "block"
NEEDS = "gram"

DAMPING = 0.01
BLOCK = 128
# Inside a block, columns to the right of a strip are brought up to date strip by strip with one matrix product.
STRIP = 16


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `w² / U_jj²` of each block of 128 columns and all rows; spread every error over what is left.

    `U` is the upper Cholesky factor of the inverse of `XᵀX + λ`, λ = 1 % of its mean diagonal. An N:M pattern chooses
    among every `of` columns, on weights that already carry the errors of the columns before them.

    weight: `[out, in]`, any float dtype, not changed. stats: the Gram matrix of the inputs. seed is not used. All
    levels go through one loop, stacked as rows. Returns one `Pruned` per level, in the weight's dtype; the arithmetic
    is float32, or float64 for float64 weights. Raises ValueError for a weight or an input that is NaN or infinite,
    missing or misshapen statistics, a sparsity outside [0, 1], a pattern that does not divide the layer and a Gram
    matrix that cannot be factored.
    Differs: inputs that are always zero (dead columns) are pruned first and count towards k, instead of being zeroed
    beside it, and sparsity 0 returns the weight as it is; exactly `round(s * n)` weights of a block are pruned.
    """
    if not torch.isfinite(weight).all():
        raise ValueError("a weight is NaN or infinite")
    stats = fitting(weight, stats, gram=True)
    for level in levels:
        if isinstance(level, Pattern):
            divides(level, weight.shape[1])
        else:
            count(level, 1)
    groups, size = stats.squares.shape
    by_group = weight.to(working(weight.dtype)).reshape(groups, -1, size)
    parts: list[list[Pruned]] = [[] for _ in levels]
    for rows, gram in zip(by_group, stats.gram if stats.gram is not None else (), strict=True):
        for place, pruned in zip(parts, _prune(rows, gram.to(rows), levels), strict=True):
            place.append(pruned)
    found = []
    for of_groups in parts:
        changed = torch.cat([part.weight for part in of_groups]).to(weight.dtype)
        if not torch.isfinite(changed).all():
            raise ValueError(f"a compensated weight does not fit into {weight.dtype}")
        found.append(Pruned(torch.cat([part.keep for part in of_groups]), changed))
    return found


def factor(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return `U` with its rows divided by their diagonal, `[in, in]`, and that diagonal `[in]`, damping included.

    `UᵀU` is the inverse of the damped Gram matrix. With the order of rows and columns reversed, `U` is the inverse of
    a lower Cholesky factor: one factorisation and the inverse of a triangle, a third of the work of factoring the
    explicit inverse. Raises ValueError where it fails; the matrix is never replaced by another.
    """
    hessian = gram.clone()
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    lower, info = torch.linalg.cholesky_ex(hessian.flip(0, 1))
    if info.item() != 0 or not torch.isfinite(lower).all():
        raise ValueError("its Gram matrix cannot be factored; calibrate on more pictures, or in float64")
    upper = _inverse_of_lower(lower).flip(0, 1)
    pivots = upper.diagonal().clone()
    return upper.div_(pivots[:, None]), pivots


def _inverse_of_lower(matrix: Tensor) -> Tensor:
    """Invert a lower triangular matrix `[n, n]` by halves: all but small triangles on the diagonal are products."""
    n = len(matrix)
    if n <= 128:
        eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
        small: Tensor = torch.linalg.solve_triangular(matrix, eye, upper=False)
        return small
    half = n // 2
    found = torch.zeros_like(matrix)
    first = found[:half, :half] = _inverse_of_lower(matrix[:half, :half])
    second = found[half:, half:] = _inverse_of_lower(matrix[half:, half:])
    found[half:, :half] = (second @ (matrix[half:, :half] @ first)).neg_()
    return found


def _prune(weight: Tensor, gram: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Prune one group's rows `[out, in]` at every level; all sparsities share one loop, every pattern has its own."""
    upper, pivots = factor(gram)
    dead = gram.diagonal() == 0
    stacks: list[list[Level]] = [list(dict.fromkeys(level for level in levels if not isinstance(level, Pattern)))]
    stacks += [[level] for level in levels if isinstance(level, Pattern)]
    found: dict[Level, Pruned] = {}
    for stack in stacks:
        if stack:
            found |= zip(stack, _stacked(weight, upper, pivots, dead, stack), strict=True)
    return [found[level] for level in levels]


def _stacked(weight: Tensor, upper: Tensor, pivots: Tensor, dead: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Run the loop over columns once, on copies of the weight for all levels side by side.

    levels: sparsities, or a single pattern. Inside, columns lie as rows `[in, levels * out]`, so that each is
    contiguous. With the rows of `U` divided by their diagonal, a pruned weight is itself the error to spread.
    """
    out, size = weight.shape
    step = levels[0].of if isinstance(levels[0], Pattern) else 1
    block, strip = (max(1, length // step) * step for length in (BLOCK, STRIP))
    cost = pivots.square().reciprocal()
    work = weight.T.repeat(1, len(levels))
    gone = torch.zeros_like(work)

    def choose(first: int, last: int) -> None:
        scores = work[first:last].square() * cost[first:last, None]
        scores[dead[first:last]] = -1
        by_level = scores.view(last - first, len(levels), out).permute(1, 2, 0)
        for place, level, rows in zip(torch.split(gone[first:last], out, 1), levels, by_level, strict=True):
            place.copy_(_smallest(rows, level).T)

    for first in range(0, size, block):
        last = min(first + block, size)
        if step == 1:
            choose(first, last)
        errors = torch.empty_like(work[first:last])
        for begin in range(first, last, strip):
            end = min(begin + strip, last)
            for column in range(begin, end):
                if step > 1 and column % step == 0:
                    choose(column, column + step)
                error = torch.mul(work[column], gone[column], out=errors[column - first])
                if column + 1 < end:
                    work[column + 1 : end].addr_(upper[column, column + 1 : end], error, alpha=-1)
            work[end:last].addmm_(upper[begin:end, end:last].T, errors[begin - first : end - first], alpha=-1)
        work[last:].addmm_(upper[first:last, last:].T, errors, alpha=-1)
    keeps = gone.T.reshape(len(levels), out, size) == 0
    changed = work.T.reshape(len(levels), out, size)
    return [Pruned(keep, new.where(keep, 0)) for keep, new in zip(keeps, changed, strict=True)]


def _smallest(scores: Tensor, level: Level) -> Tensor:
    """Return bool `[out, columns]`, True for the smallest scores, which go; ties in order of rows, then columns."""
    if isinstance(level, Pattern):
        return ~smallest_pruned(scores.contiguous(), [level])[0]
    flat = scores.reshape(-1)
    k = count(level, len(flat))
    if k in (0, len(flat)):
        return torch.full_like(scores, k > 0, dtype=torch.bool)
    limit = flat.kthvalue(k).values
    smaller, equal = flat < limit, flat == limit
    spare = k - smaller.sum()
    return (smaller | (equal & (equal.cumsum(0) <= spare))).view(scores.shape)
