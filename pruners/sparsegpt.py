"""SparseGPT: prune column by column; later columns compensate the error (arXiv 2301.00774, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.select import count, divides, kth_smallest, pattern_keep
from pruners.stats import finite, fitting, usable, working
from pruners.types import LayerStats, Pruned

DAMPING = 0.01
BLOCK = 128
# Inside a block, one matrix product per strip of columns updates all columns to the right of the strip.
STRIP = 16
# A layer is rescaled if its largest weight, or the mean of its Gram matrix's diagonal, is farther from 1 than these
# factors. Squares and products could then leave the range of float32.
WEIGHT_RANGE, GRAM_RANGE = 1e6, 1e16


def prune(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """Prune the smallest `w² / U_jj²` of each block of 128 columns and all rows. Later columns compensate every error.

    `U` is the upper Cholesky factor of the inverse of `XᵀX + λ`, where λ is 1 % of the mean diagonal of `XᵀX`. An N:M
    pattern chooses among every `of` columns, on weights that already compensate the errors of earlier columns. All
    levels share one loop, stacked as rows.

    Differs: `U` is never formed (see `_stacked`). Inputs that are always zero (dead columns) are pruned first and count
    towards k; the published code zeroes them in addition. λ is 1 % of the mean over the live columns, so that the scale
    of the inputs does not matter; the published code counts a dead column as 1. Sparsity 0 returns the weight as it is.
    Exactly `round(s * n)` weights of a block are pruned. A Gram matrix that cannot be factored is refused.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: The Gram matrix of the layer's inputs.
        levels: Sparsities and patterns.
        seed: Not used.

    Returns:
        One `Pruned` per level, in the weight's dtype. The arithmetic is float32, or float64 for float64 weights.

    Raises:
        ValueError: A weight or an input is NaN or infinite, the statistics are missing or do not fit, a sparsity is
            outside [0, 1], a pattern does not divide the layer, the Gram matrix cannot be factored, or a compensated
            weight does not fit into the weight's dtype.
    """
    weight = usable(weight)
    stats = fitting(weight, stats, gram=True)
    assert stats.gram is not None
    for level in levels:
        if isinstance(level, Pattern):
            divides(level, weight.shape[1])
        else:
            count(level, 1)
    groups, size = stats.squares.shape
    by_group = weight.to(working(weight.dtype)).reshape(groups, -1, size)
    parts: list[list[Pruned]] = [[] for _ in levels]
    for rows, gram in zip(by_group, stats.gram, strict=True):
        # The scales of weight and Gram matrix cancel, unless a square under- or overflows.
        scale = _power(2, float(rows.abs().max()), WEIGHT_RANGE)
        gram = _divided(gram, _power(4, float(gram.diagonal().mean()), GRAM_RANGE)).to(rows)
        for place, pruned in zip(parts, _prune(_divided(rows, scale), gram, levels), strict=True):
            place.append(replace(pruned, weight=_divided(pruned.weight, 1 / scale)))
    by_level = []
    for of_groups in parts:
        whole = of_groups[0]
        if groups > 1:
            whole = Pruned(torch.cat([part.keep for part in of_groups]), torch.cat([part.weight for part in of_groups]))
        changed = whole.weight.to(weight.dtype)
        if not finite(changed):
            raise ValueError(
                f"a compensated weight does not fit into {weight.dtype}; use a method that keeps the values of weights "
                "(wanda, magnitude)"
            )
        by_level.append(Pruned(whole.keep.contiguous(), changed.contiguous()))
    return by_level


def factor(gram: Tensor) -> Tensor:
    """Return the upper triangular `V` for which `V Vᵀ` is the damped Gram matrix. `U` of `prune` is the inverse of `V`.

    `V` is the Cholesky factor of the matrix whose rows and columns are in reverse order, reversed again.

    Args:
        gram: `[in, in]`, float32 or float64.

    Returns:
        `[in, in]` in the same dtype.

    Raises:
        ValueError: The matrix cannot be factored. It is never replaced by another matrix.
    """
    hessian = gram.flip(0, 1)
    diagonal = hessian.diagonal()
    live = diagonal != 0
    if not live.all():
        # Use the mean of the live columns. A fixed number would have another scale.
        diagonal[~live] = diagonal[live].mean() if live.any() else 1
    diagonal += DAMPING * diagonal.mean()
    lower, info = torch.linalg.cholesky_ex(hessian)
    if info.item() != 0 or not torch.isfinite(lower.diagonal()).all():
        raise ValueError("its Gram matrix cannot be factored; calibrate on more captions, or in float64")
    upper: Tensor = lower.flip(0, 1)
    return upper


def _prune(weight: Tensor, gram: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Prune one group's rows `[out, in]` at every level. All sparsities share one loop; every pattern has its own."""
    factored = factor(gram)
    dead = gram.diagonal() == 0
    stacks: list[list[Level]] = [list(dict.fromkeys(level for level in levels if not isinstance(level, Pattern)))]
    stacks += [[level] for level in levels if isinstance(level, Pattern)]
    by_level: dict[Level, Pruned] = {}
    for stack in stacks:
        if stack:
            by_level |= zip(stack, _stacked(weight, factored, dead, stack), strict=True)
    return [by_level[level] for level in levels]


def _power(base: int, value: float, within: float) -> float:
    """Return the power of a base that is nearest to a value; 1 for a value within a factor `within` of 1.

    Division by a power of two does not round, and the root of a power of four is a power of two.
    """
    return 1.0 if value == 0 or 1 / within <= value <= within else float(base) ** round(math.log(value, base))


def _divided(values: Tensor, by: float) -> Tensor:
    return values if by == 1 else values / by


def _stacked(weight: Tensor, factored: Tensor, dead: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Run the loop over columns once, on copies of the weight for all levels side by side.

    Inside, columns are stored as rows `[in, levels * out]`, so that each is contiguous.

    Later blocks are updated without the inverse of `V`, from the total change of every block, `Z = old - new`. With `E`
    the errors, `Z = E U`, so `Z V = E`. Block `b` therefore begins at `W_b + (Σ Z_a V_ab) V_bb⁻¹`, with the sum over
    all earlier blocks `a`. Only the triangles on the diagonal are inverted.

    Args:
        weight: `[out, in]`, float32 or float64.
        factored: `V` of `factor`, `[in, in]`.
        dead: bool `[in]`: which inputs are always zero.
        levels: Sparsities, or a single pattern.

    Returns:
        One `Pruned` per level.
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
        for place, smallest in zip(torch.split(gone[first:last], out, 1), _smallest(by_level, levels), strict=True):
            place.copy_(smallest)

    for start in range(0, size, block):
        last = min(start + block, size)
        corner = factored[start:last, start:last]
        eye = torch.eye(last - start, dtype=weight.dtype, device=weight.device)
        upper = torch.linalg.solve_triangular(corner, eye, upper=True)
        # With the rows of `U` divided by their diagonal, the error of a pruned weight is the weight itself.
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
    weights = work.T.reshape(len(levels), out, size)
    return [Pruned(keep, new.where(keep, 0)) for keep, new in zip(keeps, weights, strict=True)]


def _smallest(scores: Tensor, levels: Sequence[Level]) -> Tensor:
    """Return which weights have the smallest scores.

    Args:
        scores: `[levels, columns, out]`, each at least 0 or exactly -1.
        levels: Sparsities, or a single pattern. Equal scores are pruned in the order of rows of the weight, then
            columns.

    Returns:
        bool `[levels, columns, out]`, True where the weight is pruned.
    """
    if isinstance(levels[0], Pattern):
        if not finite(scores):
            raise ValueError("a score is NaN or infinite; check the weights and the calibration")
        return ~pattern_keep(scores[0], levels[0].kept)[None]
    flat = scores.reshape(len(levels), -1)
    counts = [count(level, flat.shape[1]) for level in levels if not isinstance(level, Pattern)]
    limits = kth_smallest(flat, counts)
    goes = scores <= limits[:, None, None]
    for i, surplus in enumerate((goes.flatten(1).sum(1) - torch.tensor(counts, device=goes.device)).tolist()):
        if surplus:
            by_row = scores[i].T
            smaller, equal = by_row < limits[i], by_row == limits[i]
            spare = counts[i] - smaller.sum()
            goes[i] = (smaller | (equal & (equal.flatten().cumsum(0).view_as(equal) <= spare))).T
    return goes
