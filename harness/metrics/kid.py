"""KID: the kernel distance between features of the pictures and features of reference pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_resample

if TYPE_CHECKING:
    from torch import Tensor

# Our figure is the published one times this: a published KID of 0.005 is about as large as an FID of 5.
SCALE = 1000
HALVES = 100
# Rows of a kernel matrix that are in memory at once.
ROWS = 1024


@dataclass(frozen=True)
class KidReference:
    """Statistics of the reference pictures, as KID needs them: see `reference`."""

    features: Tensor
    """float64 `[n, d]` on the CPU."""
    own: float
    """The mean of k(y, y') over all pairs y ≠ y' of reference pictures."""


def reference(features: Tensor) -> KidReference:
    """Return the statistics of reference pictures.

    Args:
        features: Features of the reference pictures, `[n, d]`.

    Raises:
        HarnessError: There are fewer than two pictures.
    """
    import torch

    n = len(features)
    if n < 2:
        raise HarnessError(f"--reference: KID needs two reference pictures or more, and there is {n}; add pictures")
    precise = features.double().cpu()
    return KidReference(precise, float(_pairs(precise, torch.ones(n, 1, dtype=torch.float64))) / (n * (n - 1)))


def halves(n: int) -> Tensor:
    """Return the n // 2 pictures that every half-sample takes.

    Returns:
        int64 `[HALVES, n // 2]`, fixed by n alone. No row holds a picture twice.
    """
    import torch

    generator = torch.Generator().manual_seed(n)
    return torch.stack([torch.randperm(n, generator=generator)[: n // 2] for _ in range(HALVES)])


def kid(features: Tensor, ref: KidReference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return 1000 times the kernel distance to reference pictures, of all pictures and of half-samples.

    The distance is the unbiased squared maximum mean discrepancy with the kernel (x·y / d + 1)³ (Bińkowski et al.,
    arXiv 1801.01401, section 4), over all pairs of pictures, in float64. It may be below 0.

    The half-samples vary as much as the figure itself (the delete-half jackknife: Shao and Wu, Ann. Statist. 17, 1989).
    n alone decides which pictures each takes, so the half-samples of two runs over the same captions pair. A bootstrap
    would take pictures twice, and pairs of equal pictures shift the distance.

    Differs: libraries average the distances of random subsets of 1,000 pictures of both sets. Their figure has the same
    expectation and a larger spread.

    Args:
        features: Features of the pictures, `[n, d]`.
        ref: The reference.
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
            f"KID needs at least four pictures with finite features, and there are {n}; use more --captions, and look "
            "at the pictures with --images DIR"
        )
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
    # Not at the top: torchmetrics takes seconds to load.
    from torchmetrics.image.kid import poly_kernel

    return poly_kernel(x, y)


def _pairs(features: Tensor, chosen: Tensor) -> Tensor:
    """Return the sum of k(x, x') over x ≠ x', for every subset, `[s]`. chosen: 1 where it has a picture, `[n, s]`."""
    import torch

    total = torch.zeros(chosen.shape[1], dtype=torch.float64)
    for start in range(0, len(features), ROWS):
        rows = slice(start, start + ROWS)
        kernel = _kernel(features[rows], features)
        kernel[:, rows].fill_diagonal_(0)
        total += (chosen[rows] * (kernel @ chosen)).sum(0)
    return total


def measure(sample: Sample) -> Values:
    """Return KID to the reference, and KID of every half-sample."""
    if sample.reference is None or sample.reference.kid is None:
        raise HarnessError(
            "kid needs the features of reference pictures; give --reference with a folder of pictures or a file that "
            "`prunegate reference` wrote, or leave kid out"
        )
    value, distances = kid(sample.own.features, sample.reference.kid, sample.groups)
    return by_resample(value, distances, sample.count)


METRIC = Metric(
    name="kid",
    label="KID",
    summary="1000 × kernel distance between features of the pictures and of the reference pictures",
    measure=measure,
    direction="lower",
    decimals=2,
    pairing="resample",
    takes=frozenset({"features", "reference_features"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.011,
    effect_tolerance=53.0,
    effect_share=0.55,
    short="kernel distance to the reference pictures",
)
