"""CMMD: the kernel distance between a CLIP's vectors of the pictures and of reference pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics import mmd
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_resample

if TYPE_CHECKING:
    from torch import Tensor

    from harness.metrics.kid import KidReference

SIGMA = 10.0
SCALE = 1000


def cmmd(features: Tensor, ref: KidReference, groups: Sequence[int] | None = None) -> tuple[float, Tensor]:
    """Return CMMD (Jayasumana et al., arXiv 2401.09603, section 4), of all pictures and of half-samples.

    It is 1000 times the squared maximum mean discrepancy of unit vectors, with the kernel exp(-‖x - y‖² / 2σ²), σ = 10;
    see `mmd.distances`.

    Differs: the authors' code counts the pairs of a picture with itself, which shifts the distance up. Ours is the
    unbiased one, as their equation 4. Their CLIP is ViT-L/14 at 336 pixels; ours is `--scorer`.

    Args:
        features: A CLIP's vectors of the pictures, `[n, d]`, of any length.
        ref: The vectors of the reference pictures.
        groups: As for `mmd.distances`.

    Returns:
        The distance of all pictures, and the distances of the half-samples, float64 `[HALVES]`.

    Raises:
        HarnessError: There are fewer than four pictures, or a vector is not finite.
    """
    units, own = _reference(ref)
    value, resamples = mmd.distances("CMMD", _units(features), units, own, _kernel, groups)
    return SCALE * value, SCALE * resamples


@lru_cache(maxsize=1)
def _reference(ref: KidReference) -> tuple[Tensor, float]:
    """Return the reference pictures' unit vectors, and the mean kernel of their pairs, which all cases share."""
    units = _units(ref.features)
    return units, mmd.within(units, _kernel)


def _units(features: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(features.double().cpu())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    squares: Tensor = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return (-squares / (2 * SIGMA**2)).exp()


def measure(sample: Sample) -> Values:
    """Return CMMD to the reference, and CMMD of every half-sample."""
    import torch

    features, embeddings = sample.own.features, sample.own.embeddings
    if sample.reference is None or sample.reference.kid is None:
        raise HarnessError(
            "cmmd needs the features of reference pictures; give --reference with a folder of pictures or a file that "
            "`prunegate reference` wrote, or leave cmmd out"
        )
    same = features.shape == embeddings.shape and torch.allclose(_units(features).float(), embeddings, atol=1e-3)
    if not same and features.isfinite().all():
        raise HarnessError(
            "--metrics cmmd compares vectors of the scorer's CLIP, and --features names another network; leave one of "
            "them out"
        )
    value, distances = cmmd(features, sample.reference.kid, sample.groups)
    return by_resample(value, distances, sample.count)


# Half of KID's: with unit vectors and this kernel a figure is smaller than KID on the same pictures. No noise of real
# pipelines is measured yet.
METRIC = Metric(
    name="cmmd",
    label="CMMD",
    summary="1000 × kernel distance (σ = 10) between the scorer's unit vectors of the pictures and of the reference "
    "pictures",
    measure=measure,
    direction="lower",
    decimals=3,
    pairing="resample",
    takes=frozenset({"features", "embeddings", "reference_features"}),
    tolerance=0.01,
    noise=1e-4,
    default=False,
    short="kernel distance of CLIP's vectors to the reference pictures",
)
