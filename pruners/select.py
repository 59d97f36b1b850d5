"""From scores to keep masks: exactly k weights of each comparison group are pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.stats import finite
from pruners.types import Pruned

# Comparing all pairs takes a quarter of a sort's time at groups of 4, and as long as a sort from about 32.
PAIRS_UP_TO = 16
# In a row of at least so many scores, counting bits takes a third of a selection's time.
COUNTED_FROM = 2**18


def count(sparsity: float, size: int) -> int:
    """Return the number of weights, of `size`, that a sparsity prunes: `round(sparsity * size)`, halves up.

    Raises:
        ValueError: The sparsity is not a number in [0, 1].
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity {sparsity} is not a number from 0 to 1; 0.35 prunes 35 %")
    # 0.35 * 20 may be 7.000000000000001 or 6.999999999999999, so round the last digits away first.
    return math.floor(round(sparsity * size, 6) + 0.5)


def smallest_pruned(scores: Tensor, levels: Sequence[Level]) -> list[Tensor]:
    """Return one keep mask per level: the k smallest scores of every row are pruned.

    Equal scores are pruned in the order of their index. So a higher sparsity prunes all weights that a lower one
    prunes. A pattern compares every `of` consecutive scores of a row instead. Many sparsities share one sort; up to
    three are selected one by one on a CPU.

    Args:
        scores: `[groups, size]`, float16, bfloat16, float32 or float64.
        levels: Sparsities and patterns.

    Returns:
        bool `[groups, size]` per level, True = survives.

    Raises:
        ValueError: A score is NaN or infinite, a sparsity is outside [0, 1], or a pattern does not divide a row.
    """
    if not finite(scores):
        raise ValueError("a score is NaN or infinite; check the weights and the calibration")
    groups, size = scores.shape
    limits = [None if isinstance(level, Pattern) else count(level, size) for level in levels]
    inner = sorted({limit for limit in limits if limit not in (None, 0, size)})
    last = dict(zip(inner, _largest_pruned(scores, inner), strict=True))
    keeps = []
    for level, limit in zip(levels, limits, strict=True):
        if isinstance(level, Pattern):
            divides(level, size)
            keeps.append(pattern_keep(scores.reshape(-1, level.of).T, level.kept).T.reshape(groups, size))
        elif limit not in last:
            keeps.append(torch.full_like(scores, limit == 0, dtype=torch.bool))
        else:
            keep = scores > last[limit]
            # Where equal scores lie on both sides of the limit, their places decide which of them are pruned.
            too_few = (keep.count_nonzero(1) != size - limit).any()
            keeps.append(keep | _later_equals(scores, last[limit], limit) if too_few else keep)
    return keeps


def _later_equals(scores: Tensor, last: Tensor, limit: int) -> Tensor:
    """Return which scores survive although they equal the largest pruned score of their row.

    Args:
        scores: `[groups, size]`.
        last: The largest pruned score of every row, `[groups, 1]`.
        limit: Number of scores that are pruned in every row.

    Returns:
        bool `[groups, size]`.
    """
    equal = scores == last
    pruned = limit - (scores < last).count_nonzero(1)[:, None]
    return equal & (equal.cumsum(1, dtype=torch.int32) > pruned)


def ranks(scores: Tensor) -> Tensor:
    """Return the rank of every score in its row, int32 `[groups, size]`: 0 is the smallest; ties rank by index."""
    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places.expand(order.shape))


def pattern_keep(scores: Tensor, kept: int) -> Tensor:
    """Return which scores survive: the `kept` largest of each column.

    Args:
        scores: `[of, n]`: one group of an N:M pattern per column, no score NaN.
        kept: Number of survivors per column. Equal scores are pruned in the order of their index.

    Returns:
        bool `[of, n]`, True = survives.
    """
    of = len(scores)
    if of > PAIRS_UP_TO:
        return (ranks(scores.T) >= of - kept).T
    scores = scores.contiguous()
    # The rank of i counts all j < i with a_j <= a_i, and all j > i with a_j < a_i.
    rank = torch.arange(of - 1, -1, -1, dtype=torch.int8, device=scores.device)[:, None].repeat(1, scores.shape[1])
    for i in range(of - 1):
        reached = (scores[i] <= scores[i + 1 :]).view(torch.int8)
        rank[i + 1 :] += reached
        rank[i] -= reached.sum(0, dtype=torch.int8)
    return rank >= of - kept


def _largest_pruned(scores: Tensor, limits: Sequence[int]) -> list[Tensor]:
    """Return the largest pruned score of every row of `[groups, size]`, `[groups, 1]` per limit."""
    if not limits:
        return []
    on_cpu = scores.device.type == "cpu"
    if on_cpu and len(scores) == 1 and scores.numel() >= COUNTED_FROM and _countable(scores):
        return [kth_smallest(scores, [limit])[:, None] for limit in limits]
    # On a CPU one selection takes a fifth of a sort's time. A GPU sorts a long row in parallel, but selects serially.
    if len(limits) <= 3 and on_cpu:
        return [scores.kthvalue(limit, dim=1, keepdim=True).values for limit in limits]
    order = scores.sort(dim=1).values
    return [order[:, limit - 1 : limit] for limit in limits]


def _countable(scores: Tensor) -> bool:
    """Return whether `kth_smallest` reads such scores."""
    return scores.dtype in (torch.float32, torch.float64) and not bool((scores < 0).any())


def divides(pattern: Pattern, size: int) -> None:
    """Check that a row of `size` inputs falls into whole groups of a pattern.

    Raises:
        ValueError: Some inputs are left over.
    """
    if size % pattern.of:
        raise ValueError(f"pattern {pattern} does not divide a layer with {size} inputs per output")


def by_layer(weight: Tensor, scores: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Prune the smallest scores of the whole layer (comparison group `layer`). Survivors keep their values.

    Args:
        weight: `[out, in]`.
        scores: `[out, in]`, any float dtype.
        levels: Sparsities and patterns. Patterns compare within rows.

    Returns:
        One `Pruned` per level.

    Raises:
        ValueError: As in `smallest_pruned`.
    """
    sparsities = [level for level in levels if not isinstance(level, Pattern)]
    patterns = [level for level in levels if isinstance(level, Pattern)]
    keeps: dict[Level, Tensor] = dict(zip(sparsities, smallest_pruned(scores.reshape(1, -1), sparsities), strict=True))
    if patterns:
        keeps |= zip(patterns, smallest_pruned(scores, patterns), strict=True)
    return [masked(weight, keeps[level].view(weight.shape)) for level in levels]


def masked(weight: Tensor, keep: Tensor) -> Pruned:
    """Return the weight `[out, in]` with zeros where `keep` is False."""
    return Pruned(keep, weight.where(keep, 0))


def kth_smallest(scores: Tensor, ks: Sequence[int]) -> Tensor:
    """Return the `ks[i]`-th smallest score of row `i`.

    Floats that are not negative have the same order as their bits, read as integers. So the first 16 bits of all scores
    are counted, and only scores that share the first 16 bits of the wanted score are ranked.

    Args:
        scores: float32 or float64 `[rows, n]`, each at least 0 or exactly -1, not NaN.
        ks: One rank per row, from 0 to n.

    Returns:
        `[rows]`; -inf where the rank is 0.
    """
    rows = len(scores)
    bits = scores.view(torch.int64 if scores.dtype == torch.float64 else torch.int32)
    # -1 becomes bin 0. Scores that are not negative fall into bins 1 to 2¹⁵.
    bins = (bits >> (8 * scores.element_size() - 16)).clamp_(min=-1).add_(1)
    size = 2**15 + 1
    offsets = torch.arange(0, rows * size, size, device=scores.device, dtype=bins.dtype)
    bins += offsets[:, None]
    upto = torch.bincount(bins.flatten(), minlength=rows * size).view(rows, size).cumsum_(1)
    wanted = torch.tensor(ks, device=scores.device)[:, None]
    at = torch.searchsorted(upto, wanted)
    before = torch.where(at > 0, upto.gather(1, (at - 1).clamp_(min=0)), 0)
    smallest = scores.new_full((rows,), -torch.inf)
    for i, rank in enumerate((wanted - before).flatten().tolist()):
        if ks[i]:
            smallest[i] = scores[i][bins[i] == at[i] + offsets[i]].kthvalue(rank).values
    return smallest
