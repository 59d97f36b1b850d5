"""Kernel distance between features of pictures and those of reference pictures, with a standard error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import HarnessError

# The published figure times this: a KID of 0.005 is near an FID of 5.
SCALE = 1000
HALVES = 100
ROWS = 1024


class Reference:
    """Features of a reference set, as far as KID needs them. features: `[n, d]`. own: mean of k(y, y') over y ≠ y'."""

    def __init__(self, features: Tensor) -> None:
        """Raises HarnessError for fewer than two pictures."""
        if len(features) < 2:
            raise HarnessError(f"KID wants two reference pictures or more, found {len(features)}")
        self.features = features.double().cpu()
        every = torch.ones(len(features), 1, dtype=torch.float64)
        self.own = float(_pairs(self.features, every)) / (len(features) * (len(features) - 1))


def halves(n: int) -> Tensor:
    """Return n // 2 of n pictures for each subset, without replacement, int64 `[HALVES, n // 2]`: fixed by n alone."""
    generator = torch.Generator().manual_seed(n)
    return torch.stack([torch.randperm(n, generator=generator)[: n // 2] for _ in range(HALVES)])


def kid(features: Tensor, ref: Reference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return 1000 times the kernel distance of features `[n, d]` to a reference's, and that of half-samples.

    The unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³ (Bińkowski et al., arXiv 1801.01401,
    section 4), over all pairs of pictures, in float64; it may be below 0. Differs: libraries average subsets of 1,000
    of both sets drawn at random, which has the same expectation and scatters more.

    Also returns the distances of `HALVES` half-samples of the pictures, float64 `[halves]`: which pictures each takes
    depends on n alone, so those of two runs over the same captions pair. They spread like the figure itself (the
    delete-half jackknife: Shao and Wu, Ann. Statist. 17, 1989), and have no picture twice: a bootstrap's pairs of equal
    pictures would shift them. groups: a number per picture; those with the same are taken together. Raises HarnessError
    for fewer than four pictures or features that are not finite.
    """
    n = len(features)
    if n < 4 or not torch.isfinite(features).all():
        raise HarnessError(f"KID wants at least four pictures with finite features, found {n}")
    ours = features.double().cpu()
    of = torch.arange(n) if groups is None else torch.tensor(groups)
    taken = torch.zeros(int(of.max()) + 1, 1 + HALVES, dtype=torch.float64)
    taken[:, 0] = 1
    taken[:, 1:].scatter_(0, halves(len(taken)).T, 1.0)
    chosen = taken[of]
    sizes = chosen.sum(0)
    to_reference = torch.cat([_kernel(part, ref.features).mean(1) for part in torch.split(ours, ROWS)])
    within = _pairs(ours, chosen) / (sizes * (sizes - 1))
    distances = SCALE * (within + ref.own - 2 * (to_reference @ chosen) / sizes)
    return distances[0].item(), distances[1:]


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    # Not at the top: torchmetrics takes seconds to load, and only pictures with a reference need it.
    from torchmetrics.image.kid import poly_kernel

    return poly_kernel(x, y)


def _pairs(features: Tensor, chosen: Tensor) -> Tensor:
    """Return the sum of k(x, x') over x ≠ x' of every subset, `[s]`. chosen: 1 where a picture is in it, `[n, s]`."""
    total = torch.zeros(chosen.shape[1], dtype=torch.float64)
    for start in range(0, len(features), ROWS):
        rows = slice(start, start + ROWS)
        kernel = _kernel(features[rows], features)
        kernel[:, rows].fill_diagonal_(0)
        total += (chosen[rows] * (kernel @ chosen)).sum(0)
    return total
