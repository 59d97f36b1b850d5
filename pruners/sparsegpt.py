"""SparseGPT: prune column by column, and let later columns make up for it (arXiv 2301.00774, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.select import count, divides, kth_smallest, smallest_pruned
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
    Differs: `U` is never formed (see `_stacked`); inputs that are always zero (dead columns) are pruned first and count
    towards k, instead of being zeroed beside it, and sparsity 0 returns the weight as it is; exactly `round(s * n)`
    weights of a block are pruned.
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
        whole = of_groups[0]
        if groups > 1:
            whole = Pruned(torch.cat([part.keep for part in of_groups]), torch.cat([part.weight for part in of_groups]))
        changed = whole.weight.to(weight.dtype)
        # A finite sum has finite terms, and takes one pass instead of four.
        if not changed.sum().isfinite() and not changed.isfinite().all():
            raise ValueError(f"a compensated weight does not fit into {weight.dtype}")
        found.append(Pruned(whole.keep.contiguous(), changed.contiguous()))
    return found


def factor(gram: Tensor) -> Tensor:
    """Return the upper triangular `V` `[in, in]` with `V Vᵀ` the damped Gram matrix; `U` is its inverse.

    It is the Cholesky factor of the matrix with rows and columns in reverse order. Raises ValueError where that fails;
    the matrix is never replaced by another.
    """
    hessian = gram.flip(0, 1)
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    lower, info = torch.linalg.cholesky_ex(hessian)
    if info.item() != 0 or not torch.isfinite(lower.diagonal()).all():
        raise ValueError("its Gram matrix cannot be factored; calibrate on more pictures, or in float64")
    upper: Tensor = lower.flip(0, 1)
    return upper


def _prune(weight: Tensor, gram: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Prune one group's rows `[out, in]` at every level; all sparsities share one loop, every pattern has its own."""
    factored = factor(gram)
    dead = gram.diagonal() == 0
    stacks: list[list[Level]] = [list(dict.fromkeys(level for level in levels if not isinstance(level, Pattern)))]
    stacks += [[level] for level in levels if isinstance(level, Pattern)]
    found: dict[Level, Pruned] = {}
    for stack in stacks:
        if stack:
            found |= zip(stack, _stacked(weight, factored, dead, stack), strict=True)
    return [found[level] for level in levels]


def _stacked(weight: Tensor, factored: Tensor, dead: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Run the loop over columns once, on copies of the weight for all levels side by side.

    factored: `V`, upper triangular `[in, in]`. levels: sparsities, or a single pattern. Inside, columns lie as rows
    `[in, levels * out]`, so that each is contiguous.

    What a block has changed in all, `Z = old - new`, says what later blocks owe to it without the inverse of `V`:
    with `E` the errors, `Z = E U`, so `Z V = E`, and the block `b` begins at `W_b + (Σ Z_a V_ab) V_bb⁻¹`, sum over the
    blocks `a` before it. Only the triangles on the diagonal are ever inverted.
    """
    out, size = weight.shape
    step = levels[0].of if isinstance(levels[0], Pattern) else 1
    block, strip = (max(1, length // step) * step for length in (BLOCK, STRIP))
    dense = weight.T
    work = dense.repeat(1, len(levels))
    gone = torch.zeros_like(work)
    owed = torch.zeros_like(work)

    def choose(first: int, last: int) -> None:
        scores = work[first:last].square() * cost[first - start : last - start, None]
        scores[dead[first:last]] = -1
        by_level = scores.view(last - first, len(levels), out).transpose(0, 1)
        for place, found in zip(torch.split(gone[first:last], out, 1), _smallest(by_level, levels), strict=True):
            place.copy_(found)

    for start in range(0, size, block):
        last = min(start + block, size)
        corner = factored[start:last, start:last]
        eye = torch.eye(last - start, dtype=weight.dtype, device=weight.device)
        upper = torch.linalg.solve_triangular(corner, eye, upper=True)
        # With the rows of `U` divided by their diagonal, a pruned weight is itself the error to spread.
        pivots = upper.diagonal().clone()
        cost = pivots.square().reciprocal()
        if start:
            work[start:last].addmm_(upper.T, owed[start:last])
        upper.div_(pivots[:, None])
        if step == 1:
            choose(start, last)
        errors = torch.empty_like(work[start:last])
        for begin in range(start, last, strip):
            end = min(begin + strip, last)
            for column in range(begin, end):
                if step > 1 and column % step == 0:
                    choose(column, column + step)
                error = torch.mul(work[column], gone[column], out=errors[column - start])
                if column + 1 < end:
                    row = upper[column - start, column + 1 - start : end - start]
                    work[column + 1 : end].addr_(row, error, alpha=-1)
            rows = slice(begin - start, end - start)
            work[end:last].addmm_(upper[rows, end - start :].T, errors[rows], alpha=-1)
        if last < size:
            new = work[start:last].where(gone[start:last] == 0, 0)
            changed = dense[start:last].repeat(1, len(levels)).sub_(new)
            owed[last:].addmm_(factored[start:last, last:].T, changed)
    keeps = gone.T.reshape(len(levels), out, size) == 0
    found = work.T.reshape(len(levels), out, size)
    return [Pruned(keep, new.where(keep, 0)) for keep, new in zip(keeps, found, strict=True)]


def _smallest(scores: Tensor, levels: Sequence[Level]) -> Tensor:
    """Return bool `[levels, columns, out]`, True for the smallest scores, which go.

    scores: `[levels, columns, out]`. Ties go in order of rows of the weight, then columns.
    """
    if isinstance(levels[0], Pattern):
        return ~smallest_pruned(scores[0].T.contiguous(), levels)[0].T[None]
    flat = scores.reshape(len(levels), -1)
    counts = [count(level, flat.shape[1]) for level in levels if not isinstance(level, Pattern)]
    limits = kth_smallest(flat, counts)
    found = scores <= limits[:, None, None]
    for i, surplus in enumerate((found.flatten(1).sum(1) - torch.tensor(counts, device=found.device)).tolist()):
        if surplus:
            by_row = scores[i].T
            smaller, equal = by_row < limits[i], by_row == limits[i]
            spare = counts[i] - smaller.sum()
            found[i] = (smaller | (equal & (equal.flatten().cumsum(0).view_as(equal) <= spare))).T
    return found
