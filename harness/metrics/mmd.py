"""The unbiased maximum mean discrepancy between two sets of features, for any kernel, with half-samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

    # Takes features `[a, d]` and `[b, d]`, float64, and returns the kernel of every pair, `[a, b]`.
    Kernel = Callable[[Tensor, Tensor], Tensor]

HALVES = 100
# Rows of a kernel matrix that are in memory at once.
ROWS = 1024


def halves(n: int) -> Tensor:
    """Return the n // 2 pictures that every half-sample takes.

    Returns:
        int64 `[HALVES, n // 2]`, fixed by n alone. No row holds a picture twice.
    """
    import torch

    generator = torch.Generator().manual_seed(n)
    return torch.stack([torch.randperm(n, generator=generator)[: n // 2] for _ in range(HALVES)])


def within(features: Tensor, kernel: Kernel) -> float:
    """Return the mean of k(x, x') over all pairs x ≠ x' of features, float64 `[n, d]`."""
    import torch

    n = len(features)
    return float(_pairs(features, torch.ones(n, 1, dtype=torch.float64), kernel)) / (n * (n - 1))


def distances(
    name: str, features: Tensor, reference: Tensor, own: float, kernel: Kernel, groups: Sequence[int] | None
) -> tuple[float, Tensor]:
    """Return the distance to reference pictures, of all pictures and of half-samples.

    The distance is the unbiased squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012, equation 3), over all
    pairs of pictures, in float64. It may be below 0.

    The half-samples vary as much as the figure itself (the delete-half jackknife: Shao and Wu, Ann. Statist. 17, 1989).
    n alone decides which pictures each takes, so the half-samples of two runs over the same captions pair. A bootstrap
    would take pictures twice, and pairs of equal pictures shift the distance.

    Args:
        name: The metric's name, for messages.
        features: Features of the pictures, `[n, d]`.
        reference: Features of the reference pictures, float64 `[m, d]`.
        own: `within` of the reference pictures.
        kernel: The kernel.
        groups: The group of every picture; a half-sample takes all pictures of a group or none. None: no groups.

    Returns:
        The distance of all pictures, and the distances of the half-samples, float64 `[HALVES]`.

    Raises:
        HarnessError: There are fewer than four pictures, or a feature is not finite.
    """
    import torch

    n = len(features)
    if n < 4 or not torch.isfinite(features).all():
        raise HarnessError(
            f"{name} needs at least four pictures with finite features, and there are {n}; use more --captions, and "
            "look at the pictures with --images DIR"
        )
    ours = features.double().cpu()
    of = torch.arange(n) if groups is None else torch.tensor(groups)
    taken = torch.zeros(int(of.max()) + 1, 1 + HALVES, dtype=torch.float64)
    taken[:, 0] = 1
    taken[:, 1:].scatter_(0, halves(len(taken)).T, 1.0)
    chosen = taken[of]
    sizes = chosen.sum(0)
    to_reference = torch.cat([kernel(part, reference).mean(1) for part in torch.split(ours, ROWS)])
    inside = _pairs(ours, chosen, kernel) / (sizes * (sizes - 1))
    every = inside + own - 2 * (to_reference @ chosen) / sizes
    return every[0].item(), every[1:]


def _pairs(features: Tensor, chosen: Tensor, kernel: Kernel) -> Tensor:
    """Return the sum of k(x, x') over x ≠ x', for every subset, `[s]`. chosen: 1 where it has a picture, `[n, s]`."""
    import torch

    total = torch.zeros(chosen.shape[1], dtype=torch.float64)
    for start in range(0, len(features), ROWS):
        rows = slice(start, start + ROWS)
        block = kernel(features[rows], features)
        block[:, rows].fill_diagonal_(0)
        total += (chosen[rows] * (block @ chosen)).sum(0)
    return total
