"""KID: the kernel distance between features of the pictures and features of reference pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics import mmd
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_resample

if TYPE_CHECKING:
    from torch import Tensor

# Our figure is the published one times this: a published KID of 0.005 is about as large as an FID of 5.
SCALE = 1000


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
    n = len(features)
    if n < 2:
        raise HarnessError(f"--reference: KID needs two reference pictures or more, and there is {n}; add pictures")
    precise = features.double().cpu()
    return KidReference(precise, mmd.within(precise, _kernel))


def kid(features: Tensor, ref: KidReference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return 1000 times the kernel distance to reference pictures, of all pictures and of half-samples.

    The kernel is (x·y / d + 1)³ (Bińkowski et al., arXiv 1801.01401, section 4); see `mmd.distances`.

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
    value, resamples = mmd.distances("KID", features, ref.features, ref.own, _kernel, groups)
    return SCALE * value, SCALE * resamples


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    # Not at the top: torchmetrics takes seconds to load.
    from torchmetrics.image.kid import poly_kernel

    return poly_kernel(x, y)


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
