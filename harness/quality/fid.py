"""Fréchet distance between features of pictures and a reference's mean and covariance, with a standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.measurement import Measurement


@dataclass(frozen=True)
class Reference:
    """Features of a reference set. mean: float64 `[d]`. root: float64 `[d, d]`, root @ root = covariance."""

    mean: Tensor
    root: Tensor
    n: int


def summarise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean `[d]` and covariance `[d, d]` (divided by n - 1) of features `[n, d]`, in float64."""
    return features.double().mean(0), torch.cov(features.double().T)


def reference(mean: Tensor, covariance: Tensor, n: int) -> Reference:
    """Return a reference from its mean `[d]` and covariance `[d, d]`."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return Reference(mean.double(), root, n)


def load_reference(path: Path) -> Reference:
    """Read what `python -m harness reference` wrote: mean, covariance and n as safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
        return reference(stored["mean"], stored["covariance"], int(stored["n"]))
    except (OSError, KeyError, SafetensorError) as error:
        raise HarnessError(f"the reference {path} cannot be read ({error}); restore it from git") from error


def _distances(centre: Tensor, through: Tensor, ref: Reference) -> Tensor:
    """Return one distance per resample `[b]`.

    centre: features less the reference's mean, `[b, n, d]`; through: the same times the reference's root.
    """
    n, d = centre.shape[1:]
    rows = through - through.mean(1, keepdim=True)
    gram = rows @ rows.mT if n <= d else rows.mT @ rows
    cross: Tensor = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum(-1) / (n - 1) ** 0.5
    return centre.mean(1).square().sum(-1) + centre.var(1).sum(-1) + ref.root.square().sum() - 2 * cross


# Resamples, and how many where their matrices are large: at n = 10,000 and d = 2048 one pair takes 6 s on two cores.
RESAMPLES, FEW, LARGE = 100, 20, 1024
# Numbers that a batch of resamples copies at most of one set, in float64.
COPIED = 2**25


def picks(n: int, d: int = 0) -> Tensor:
    """Return which of n pictures each bootstrap resample takes, int64 `[resamples, n]`: fixed by n and d alone.

    d: dimension of the features. `RESAMPLES`, or `FEW` where n and d both exceed `LARGE`.
    """
    count = FEW if min(n, d) > LARGE else RESAMPLES
    return torch.randint(n, (count, n), generator=torch.Generator().manual_seed(n))


def _chosen(n: int, d: int, groups: Sequence[int] | None) -> Iterator[Tensor]:
    """Yield which pictures make up the value and then each resample, int64 `[b, k]`, in parts that fit into memory.

    groups: pictures of one group are taken together or not at all, so resamples differ in size; None: each is its own.
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
    """Return the Fréchet distance with its standard error: see `resampled`."""
    value, distances = resampled(features, ref)
    return Measurement(value, distances.std().item(), len(features))


def resampled(features: Tensor, ref: Reference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return the Fréchet distance of features `[n, d]` to a reference (Heusel et al., arXiv 1706.08500, eq. 6).

    Also returns the distances of bootstrap resamples of the pictures, float64 `[resamples]`: `picks` says which
    pictures each takes, so the resamples of two runs over the same captions pair. groups: a number per picture; those
    with the same describe one thing and are resampled together.

    tr √(S₁S₂) is the sum of the root eigenvalues of A S₂ Aᵀ / (n - 1), A the centred features: exact at any rank, in
    float64. Resampled sets have ties, which shifts their mean but not their spread; the value is that of the pictures
    themselves. Biased upwards by about 1/n: compare only
    at equal n. Raises HarnessError for fewer than two pictures or features that are not finite.
    """
    n = len(features)
    if n < 2 or not torch.isfinite(features).all():
        raise HarnessError(f"FID wants at least two pictures with finite features, found {n}")
    centre = features.double().cpu() - ref.mean
    through = centre @ ref.root
    distances = torch.cat(
        [_distances(centre[part], through[part], ref) for part in _chosen(n, centre.shape[1], groups)]
    )
    return distances[0].item(), distances[1:]


def between(features: Tensor, others: Tensor, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return the Fréchet distance between two sets of features `[n, d]` of the same captions, and its resamples.

    Every resample takes the same captions of both sets, as `resampled` takes them. With A and B the centred features,
    tr √(S₁S₂) is the sum of the singular values of A Bᵀ / (n - 1): exact below n = d, where covariances are singular.
    0 for equal sets. Raises HarnessError as `resampled` does, and for sets of different shape.
    """
    n = len(features)
    if n < 2 or features.shape != others.shape or not (features.isfinite().all() and others.isfinite().all()):
        raise HarnessError(
            f"FID wants two or more pictures of each kind with finite features, found {n}, {len(others)}"
        )
    ours, theirs = features.double().cpu(), others.double().cpu()
    found = []
    for chunk in _chosen(n, ours.shape[1], groups):
        size = chunk.shape[1]
        a, b = ours[chunk], theirs[chunk]
        apart = (a.mean(1) - b.mean(1)).square().sum(-1)
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        if size > a.shape[2]:
            # Singular values of A Bᵀ know nothing of the Q of A = Q R: d×d is all that is needed.
            a, b = torch.linalg.qr(a, mode="r").R, torch.linalg.qr(b, mode="r").R
        spread = (a.square().sum((1, 2)) + b.square().sum((1, 2))) / (size - 1)
        found.append(apart + spread - 2 * torch.linalg.svdvals(a @ b.mT).sum(-1) / (size - 1))
    distances = torch.cat(found)
    return distances[0].item(), distances[1:]
