"""Swaps: exchange pruned and kept weights of a row while the layer's error falls (SparseSwaps, arXiv 2512.10922)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruners.levels import Level, Pattern
from pruners.select import masked
from pruners.stats import fitting, usable, working
from pruners.types import LayerStats, Pruned

# The most swaps in one row.
ROUNDS = 100
# In every round, as many of the cheapest weights to prune and to revive are paired.
CANDIDATES = 32
# A swap must lower the error by more than this share of its terms, or rounding could raise the error.
LEAST_GAIN = {torch.float32: 1e-4, torch.float64: 1e-10}


def refine(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], pruned: Sequence[Pruned]) -> list[Pruned]:
    """Swap one pruned and one kept weight of every row, as long as the layer's error falls, up to `ROUNDS` times.

    The error of a row is `‖X (w ⊙ pruned)‖²`. With `c = G (w ⊙ pruned)`, pruning `u` and reviving `p` changes it by
    `2 w_u c_u + w_u² G_uu - 2 w_p c_p + w_p² G_pp - 2 w_u w_p G_up`. Every row keeps its count, and every group of an
    N:M pattern too.

    Differs: a sparsity pairs the `CANDIDATES` weights that are cheapest to prune alone with as many that are best to
    revive alone. The paper pairs all. A pattern pairs all weights of every group, as in the paper.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`; it is not changed.
        stats: The Gram matrix of the layer's inputs.
        levels: Sparsities and patterns.
        pruned: The masks to start from, one per level. They are not changed.

    Returns:
        One `Pruned` per level. Survivors have the values of `weight`.

    Raises:
        ValueError: A weight or an input is NaN or infinite, or the statistics are missing or do not fit.
    """
    weight = usable(weight)
    stats = fitting(weight, stats, gram=True)
    assert stats.gram is not None
    groups, size = stats.squares.shape
    by_group = weight.to(working(weight.dtype)).reshape(groups, -1, size)
    refined = []
    for level, start in zip(levels, pruned, strict=True):
        of = level.of if isinstance(level, Pattern) else None
        keeps = start.keep.reshape(groups, -1, size)
        parts = [_swapped(*one, of) for one in zip(by_group, stats.gram.to(by_group), keeps, strict=True)]
        refined.append(masked(weight, torch.cat(parts)))
    return refined


def _swapped(weight: Tensor, gram: Tensor, keep: Tensor, of: int | None) -> Tensor:
    """Return better keep masks of one group's rows.

    Args:
        weight: `[out, in]`, float32 or float64.
        gram: `[in, in]`, in the same dtype.
        keep: bool `[out, in]`; it is not changed.
        of: The M of an N:M pattern, None for a sparsity.
    """
    final, rows = keep.clone(), torch.arange(len(weight), device=weight.device)
    w, kept = weight, keep.clone()
    product = w.where(~kept, 0) @ gram
    for _ in range(ROUNDS):
        own, cross = w.square() * gram.diagonal(), 2 * w * product
        # The changes of the error if one more weight goes, and if one comes back.
        goes, comes = (own + cross).where(kept, torch.inf), (own - cross).where(~kept, torch.inf)
        first, second, change = _cheapest(w, gram, goes, comes) if of is None else _in_groups(w, gram, goes, comes, of)
        terms = goes.gather(1, first).abs() + comes.gather(1, second).abs()
        falls = (change < -LEAST_GAIN[w.dtype] * terms)[:, 0]
        if not falls.all():
            final[rows] = kept
            rows, w, kept, product, first, second = (x[falls] for x in (rows, w, kept, product, first, second))
        if not len(rows):
            return final
        kept.scatter_(1, first, False).scatter_(1, second, True)
        product += w.gather(1, first) * gram[first[:, 0]] - w.gather(1, second) * gram[second[:, 0]]
    final[rows] = kept
    return final


def _cheapest(weight: Tensor, gram: Tensor, goes: Tensor, comes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best swap of every row among the candidates: the weight that goes, the one that comes, the change.

    Args:
        weight: `[out, in]`.
        gram: `[in, in]`.
        goes: `[out, in]`: the change if the weight goes; infinite where it is pruned already.
        comes: `[out, in]`: the change if the weight comes back; infinite where it is kept.

    Returns:
        Three `[out, 1]`: two indices and the change of the error.
    """
    some = min(CANDIDATES, weight.shape[1])
    (lost, u), (won, p) = (table.topk(some, dim=1, largest=False, sorted=False) for table in (goes, comes))
    together = weight.gather(1, u)[:, :, None] * weight.gather(1, p)[:, None] * gram[u[:, :, None], p[:, None]]
    change = (lost[:, :, None] + won[:, None] - 2 * together).flatten(1)
    least, at = change.min(1, keepdim=True)
    return u.gather(1, at // some), p.gather(1, at % some), least


def _in_groups(weight: Tensor, gram: Tensor, goes: Tensor, comes: Tensor, of: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best swap of every row inside one of its groups of `of` inputs. Otherwise like `_cheapest`."""
    rows, size = weight.shape
    groups = torch.arange(size, device=weight.device).view(-1, of)
    corners = gram[groups[:, :, None], groups[:, None]]
    w, lost, won = (table.reshape(rows, -1, of) for table in (weight, goes, comes))
    change = lost[..., None] + won[..., None, :] - 2 * w[..., None] * w[..., None, :] * corners
    least, at = change.flatten(1).min(1, keepdim=True)
    first = at // (of * of) * of
    return first + at % (of * of) // of, first + at % of, least
