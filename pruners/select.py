"""From scores to keep masks: exactly k weights of each comparison group are pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.types import Pruned


def count(sparsity: float, size: int) -> int:
    """Return how many of `size` weights a sparsity prunes: `round(sparsity * size)`, halves up.

    Raises ValueError for a sparsity that is not a number in [0, 1].
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity is {sparsity}, wanted a number from 0 to 1")
    # The product of 0.35 and 20 is 7.000000000000001 or 6.999999999999999: look past the last digits.
    return math.floor(round(sparsity * size, 6) + 0.5)


def ranks(scores: Tensor) -> Tensor:
    """Return every score's place in its row, int32 `[groups, size]`: 0 is the smallest, ties in order of the index."""
    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places.expand(order.shape))


def smallest_pruned(scores: Tensor, levels: Sequence[Level]) -> list[Tensor]:
    """Return one keep mask per level: in every row of `scores` the k smallest are pruned.

    scores: `[groups, size]`, any float dtype; ties go to the lower index, so that the masks of rising sparsities nest.
    Many sparsities share one sort; few are each found by selection. A pattern compares every `of` consecutive scores
    of a row instead.
    Returns bool `[groups, size]` each, True = survives. Raises ValueError where a score is NaN or infinite, and for a
    pattern that does not divide a row.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("a score is NaN or infinite")
    groups, size = scores.shape
    limits = [None if isinstance(level, Pattern) else count(level, size) for level in levels]
    inner = sorted({limit for limit in limits if limit not in (None, 0, size)})
    last = dict(zip(inner, _largest_pruned(scores, inner), strict=True))
    places: Tensor | None = None
    keeps = []
    for level, limit in zip(levels, limits, strict=True):
        if isinstance(level, Pattern):
            divides(level, size)
            keeps.append((ranks(scores.reshape(-1, level.of)) >= level.of - level.kept).view(groups, size))
        elif limit not in last:
            keeps.append(torch.full_like(scores, limit == 0, dtype=torch.bool))
        else:
            keep = scores > last[limit]
            if (keep.sum(1) != size - limit).any():
                # Equal scores on both sides of the limit: only their places tell which of them go.
                places = ranks(scores) if places is None else places
                keep = places >= limit
            keeps.append(keep)
    return keeps


def _largest_pruned(scores: Tensor, limits: Sequence[int]) -> list[Tensor]:
    """Return the largest score that each limit prunes in every row of `[groups, size]`: `[groups, 1]` per limit."""
    if not limits:
        return []
    # On a CPU one selection takes a fifth of a sort; a GPU sorts a long row in parallel but selects in one block.
    if len(limits) <= 3 and scores.device.type == "cpu":
        return [scores.kthvalue(limit, dim=1, keepdim=True).values for limit in limits]
    order = scores.sort(dim=1).values
    return [order[:, limit - 1 : limit] for limit in limits]


def divides(pattern: Pattern, size: int) -> None:
    """Raise ValueError where a row of `size` inputs does not fall into whole groups of the pattern."""
    if size % pattern.of:
        raise ValueError(f"pattern {pattern} does not divide a layer with {size} inputs per output")


def by_layer(weight: Tensor, scores: Tensor, levels: Sequence[Level]) -> list[Pruned]:
    """Prune the smallest scores of the whole layer (comparison group `layer`); the survivors keep their values.

    weight, scores: `[out, in]`. Patterns compare within rows. Raises ValueError as `smallest_pruned` does.
    """
    plain = [level for level in levels if not isinstance(level, Pattern)]
    patterns = [level for level in levels if isinstance(level, Pattern)]
    keeps: dict[Level, Tensor] = dict(zip(plain, smallest_pruned(scores.reshape(1, -1), plain), strict=True))
    if patterns:
        keeps |= zip(patterns, smallest_pruned(scores, patterns), strict=True)
    return [masked(weight, keeps[level].view(weight.shape)) for level in levels]


def masked(weight: Tensor, keep: Tensor) -> Pruned:
    """Return the weight `[out, in]` with zeros where `keep` is False."""
    return Pruned(keep, weight.where(keep, 0))


def kth_smallest(scores: Tensor, ks: Sequence[int]) -> Tensor:
    """Return the `ks[i]`-th smallest of row `i`, `[rows]`; -inf where `ks[i]` is 0.

    scores: float32 or float64 `[rows, n]`, each at least 0 or exactly -1, not NaN. The bits of such floats order as
    integers do, so the first 16 of them are counted, and only scores that share those of the wanted one are ranked.
    """
    rows = len(scores)
    bits = scores.view(torch.int64 if scores.dtype == torch.float64 else torch.int32)
    # -1 becomes bin 0; what is not negative has bin 1 or above, 2¹⁵ of them.
    bins = (bits >> (8 * scores.element_size() - 16)).clamp_(min=-1).add_(1)
    size = 2**15 + 1
    offsets = torch.arange(0, rows * size, size, device=scores.device, dtype=bins.dtype)
    bins += offsets[:, None]
    upto = torch.bincount(bins.flatten(), minlength=rows * size).view(rows, size).cumsum_(1)
    wanted = torch.tensor(ks, device=scores.device)[:, None]
    at = torch.searchsorted(upto, wanted)
    before = torch.where(at > 0, upto.gather(1, (at - 1).clamp_(min=0)), 0)
    found = scores.new_full((rows,), -torch.inf)
    for i, rank in enumerate((wanted - before).flatten().tolist()):
        if ks[i]:
            found[i] = scores[i][bins[i] == at[i] + offsets[i]].kthvalue(rank).values
    return found
