"""The Fréchet distance between features of pictures and a reference, or between two sets of features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.measurement import Measurement

# Number of bootstrap resamples, and the smaller number where n and d exceed `LARGE`: there, one resample of two sets
# takes 6 s on two cores (n = 10,000, d = 2048).
RESAMPLES, FEW, LARGE = 100, 20, 1024
# Number of float64 values of one set that a batch of resamples may copy.
COPIED = 2**25


@dataclass(frozen=True)
class Reference:
    """Statistics of the reference pictures, as the distance needs them: see `reference`."""

    mean: Tensor
    """Mean of the features, float64 `[d]`."""
    root: Tensor
    """Square root of the covariance of the features, float64 `[d, d]`: root @ root is the covariance."""
    n: int
    """Number of pictures."""


def summarise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean `[d]` and covariance `[d, d]` (divided by n - 1) of features `[n, d]`, in float64."""
    return features.double().mean(0), torch.cov(features.double().T)


def reference(mean: Tensor, covariance: Tensor, n: int) -> Reference:
    """Return the reference of n pictures from mean `[d]` and covariance `[d, d]` of their features."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return Reference(mean.double(), root, n)


def _distances(centre: Tensor, through: Tensor, ref: Reference) -> Tensor:
    """Return one distance per resample, `[b]`.

    Args:
        centre: Features minus the reference's mean, `[b, n, d]`.
        through: `centre @ ref.root`, `[b, n, d]`.
        ref: The reference.
    """
    n, d = centre.shape[1:]
    rows = through - through.mean(1, keepdim=True)
    gram = rows @ rows.mT if n <= d else rows.mT @ rows
    cross: Tensor = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum(-1) / (n - 1) ** 0.5
    return centre.mean(1).square().sum(-1) + centre.var(1).sum(-1) + ref.root.square().sum() - 2 * cross


def picks(n: int, d: int = 0) -> Tensor:
    """Return the pictures that each bootstrap resample takes.

    Args:
        n: Number of pictures, or of groups of pictures.
        d: Dimension of the features.

    Returns:
        int64 `[resamples, n]`, fixed by n and d alone: `RESAMPLES` rows, or the first `FEW` of them where n and d both
        exceed `LARGE`.
    """
    count = FEW if min(n, d) > LARGE else RESAMPLES
    return torch.randint(n, (count, n), generator=torch.Generator().manual_seed(n))


def _chosen(n: int, d: int, groups: Sequence[int] | None) -> Iterator[Tensor]:
    """Yield the pictures of the value, then those of each resample: int64 `[b, k]`, in parts that fit into memory.

    A resample takes all pictures of a group or none, so resamples of groups differ in size.
    """
    everything = torch.arange(n)
    if groups is None:
        yield from torch.split(torch.cat([everything[None], picks(n, d)]), max(1, min(16, COPIED // (n * d))))
        return
    of = torch.tensor(groups)
    members = [everything[of == group] for group in range(int(of.max()) + 1)]
    yield everything[None]
    for chosen in picks(len(members), d).tolist():
        yield torch.cat([members[group] for group in chosen])[None]


def fid(features: Tensor, ref: Reference) -> Measurement:
    """Return the Fréchet distance to a reference with its standard error: see `resampled`."""
    value, distances = resampled(features, ref)
    return Measurement(value, distances.std().item(), len(features))


def resampled(features: Tensor, ref: Reference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return the Fréchet distance to a reference (Heusel et al., arXiv 1706.08500, eq. 6), and of resamples.

    With A the centred features, tr √(S₁S₂) is the sum of the root eigenvalues of A S₂ Aᵀ / (n - 1). This is exact at
    any rank, and computed in float64. The distance is biased upwards by about 1/n: compare figures of equal n only.
    Resamples take some pictures twice. That shifts their mean but not their spread, so the value is the distance of the
    pictures themselves.

    Args:
        features: Features of the pictures, `[n, d]`.
        ref: The reference.
        groups: The group of every picture; a resample takes all pictures of a group or none. None: no groups.

    Returns:
        The distance of all pictures, and the distances of bootstrap resamples, float64 `[resamples]`. `picks` says
        which pictures each resample takes, so the resamples of two runs over the same captions pair.

    Raises:
        HarnessError: There are fewer than two pictures, or a feature is not finite.
    """
    n = len(features)
    if n < 2 or not torch.isfinite(features).all():
        raise HarnessError(
            f"FID needs at least two pictures with finite features, and there are {n}; use more --captions, and look "
            "at the pictures with --images DIR"
        )
    centre = features.double().cpu() - ref.mean
    through = centre @ ref.root
    distances = torch.cat(
        [_distances(centre[part], through[part], ref) for part in _chosen(n, centre.shape[1], groups)]
    )
    return distances[0].item(), distances[1:]


def between(features: Tensor, others: Tensor, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return the Fréchet distance between features of two sets of pictures of the same captions, and of resamples.

    Every resample takes the same captions of both sets. With A and B the centred features, tr √(S₁S₂) is the sum of
    the singular values of A Bᵀ / (n - 1). This is exact also below n = d, where covariances are singular. Equal sets
    have distance 0.

    Args:
        features: Features of one set, `[n, d]`.
        others: Features of the other set, `[n, d]`.
        groups: As in `resampled`.

    Returns:
        The distance of all pictures, and of every resample, as in `resampled`.

    Raises:
        HarnessError: There are fewer than two pictures, the sets differ in shape, or a feature is not finite.
    """
    n = len(features)
    if n < 2 or features.shape != others.shape or not (features.isfinite().all() and others.isfinite().all()):
        raise HarnessError(
            "FID needs two or more pictures of each kind, as many of both, with finite features, and there are "
            f"{n} and {len(others)}; use more --captions, and look at the pictures with --images DIR"
        )
    ours, theirs = features.double().cpu(), others.double().cpu()
    parts = []
    for chunk in _chosen(n, ours.shape[1], groups):
        size = chunk.shape[1]
        a, b = ours[chunk], theirs[chunk]
        apart = (a.mean(1) - b.mean(1)).square().sum(-1)
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        if size > a.shape[2]:
            # With A = QR, the singular values of A Bᵀ are those of R Bᵀ, so a d×d matrix is enough.
            a, b = torch.linalg.qr(a, mode="r").R, torch.linalg.qr(b, mode="r").R
        spread = (a.square().sum((1, 2)) + b.square().sum((1, 2))) / (size - 1)
        parts.append(apart + spread - 2 * torch.linalg.svdvals(a @ b.mT).sum(-1) / (size - 1))
    distances = torch.cat(parts)
    return distances[0].item(), distances[1:]
