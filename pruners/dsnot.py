"""DSnoT: exchange weights so that the mean output of every row returns (Zhang et al., arXiv 2310.08915)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners import wanda
from pruners.levels import Level, Pattern
from pruners.select import masked
from pruners.stats import fitting, usable
from pruners.types import LayerStats, Pruned

CYCLES = 50
# The published limit is 0.1 for inputs that are summed over the 2,048 tokens of a sequence. Here they are means.
LIMIT = 0.1 / 2048


def refine(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], pruned: Sequence[Pruned]) -> list[Pruned]:
    """Regrow pruned weights and prune kept ones in pairs, as long as a row's mean error is large.

    The error of a row is `ε = Σ W · mean(X)` over its pruned weights. Each cycle regrows the pruned weight with the
    largest `W · mean(X) / var(X)` of the sign of ε, and prunes the weight with the smallest Wanda score of those whose
    `W · mean(X)` has the other sign. A row stops when |ε| is at most `LIMIT`, when ε would change its sign, or after
    `CYCLES` cycles. A pattern prunes inside the group of the regrown weight, whatever the sign. Every row keeps its
    count, and every group of a pattern too.

    Differs: a row also stops when it has no more weight of the sign. The published code goes on with others. Inputs
    that never vary are regrown first, and inputs that are always zero never.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: Sums and sums of squares of the layer's inputs.
        levels: Sparsities and patterns.
        pruned: The masks to start from, one per level. They are not changed.

    Returns:
        One `Pruned` per level. Survivors have the values of `weight`.

    Raises:
        ValueError: A weight or an input is NaN or infinite, or the statistics are missing or do not fit.
    """
    weight = usable(weight)
    stats = fitting(weight, stats, sums=True)
    assert stats.sums is not None
    scores = wanda.scores(weight, stats)
    means = stats.sums / stats.rows
    variances = (stats.squares / stats.rows - means.square()).clamp(min=0)
    shape = len(means), -1, weight.shape[1]
    parts = (weight.to(scores).reshape(shape) * means.to(scores)[:, None]).view(weight.shape)
    spread = variances.to(scores)[:, None].expand(scores.reshape(shape).shape).reshape(weight.shape)
    refined = []
    for level, start in zip(levels, pruned, strict=True):
        error = parts.where(~start.keep, 0).sum(1, keepdim=True)
        # From here on, ε is at least 0.
        toward = parts * error.sign()
        regrown = (toward / spread).where(~start.keep & (toward > 0), -torch.inf)
        if isinstance(level, Pattern):
            keep = _in_groups(start.keep, scores, toward, regrown, error.abs(), level.of)
        else:
            keep = _in_rows(start.keep, scores, toward, regrown, error.abs())
        refined.append(masked(weight, keep))
    return refined


def _in_rows(keep: Tensor, scores: Tensor, toward: Tensor, regrown: Tensor, error: Tensor) -> Tensor:
    """Return the keep mask after all cycles of a sparsity.

    Args:
        keep: bool `[out, in]`.
        scores: `[out, in]`: the Wanda scores.
        toward: `[out, in]`: what each weight would add to ε.
        regrown: `[out, in]`: the order of regrowing, largest first; -inf where a weight is not regrown.
        error: `[out, 1]`: ε, at least 0.
    """
    cycles = min(CYCLES, keep.shape[1])
    cost = scores.where(keep & (toward < 0), torch.inf)
    best, comes = (column[:, :cycles] for column in regrown.sort(dim=1, descending=True, stable=True))
    least, goes = (column[:, :cycles] for column in cost.sort(dim=1, stable=True))
    after = error + (toward.gather(1, goes) - toward.gather(1, comes)).cumsum(1)
    before = torch.cat([error, after[:, :-1]], dim=1)
    done = (best > -torch.inf) & (least < torch.inf) & (before > LIMIT) & (after > 0)
    done = done.cumprod(1).bool()
    new = keep.scatter(1, comes, keep.gather(1, comes) | done)
    return new.scatter(1, goes, new.gather(1, goes) & ~done)


def _in_groups(keep: Tensor, scores: Tensor, toward: Tensor, regrown: Tensor, error: Tensor, of: int) -> Tensor:
    """Return the keep mask after all cycles of a pattern. of: its M. Otherwise like `_in_rows`."""
    keep, cost = keep.clone(), scores.where(keep, torch.inf)
    best, order = regrown.sort(dim=1, descending=True, stable=True)
    going = torch.ones_like(error, dtype=torch.bool)
    for cycle in range(min(CYCLES, keep.shape[1])):
        comes = order[:, cycle : cycle + 1]
        group = comes // of * of + torch.arange(of, device=keep.device)
        least, at = cost.gather(1, group).min(1, keepdim=True)
        goes = group.gather(1, at)
        after = error + toward.gather(1, goes) - toward.gather(1, comes)
        going &= (best[:, cycle : cycle + 1] > -torch.inf) & (least < torch.inf) & (error > LIMIT) & (after > 0)
        keep.scatter_(1, comes, keep.gather(1, comes) | going)
        keep.scatter_(1, goes, keep.gather(1, goes) & ~going)
        # A weight that went takes no part any more.
        cost.scatter_(1, goes, torch.inf)
        error = after.where(going, error)
    return keep
