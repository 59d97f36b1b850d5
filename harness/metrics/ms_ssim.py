"""MS-SSIM: SSIM at five sizes of the picture, so that fine and coarse structure both count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.pairs import compared
from harness.metrics.ssim import WINDOW

if TYPE_CHECKING:
    from torch import Tensor

# The picture is halved four times, and the smallest one must hold a window.
LEAST = 16 * WINDOW


def ms_ssim(pictures: Tensor, dense: Tensor) -> Tensor:
    """Return the multi-scale similarity of every pair (Wang et al., Asilomar 2003, equation 7, with its exponents).

    1: the pictures are equal. torchmetrics computes it, in float32 on the CPU.

    Differs: as `ssim`, but contrast and structure count whole windows only; and where they are below 0, they count as
    0, because a root of a number below 0 does not exist.

    Args:
        pictures: uint8 `[n, 3, h, w]`, h and w at least `LEAST`.
        dense: The dense model's pictures, in the same order.

    Returns:
        float32 `[n]`.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    similar: Tensor = multiscale_structural_similarity_index_measure(
        pictures.float(), dense.float(), kernel_size=WINDOW, reduction="none", data_range=255.0, normalize="relu"
    )
    return similar.reshape(-1)


def measure(sample: Sample) -> Values:
    """Return the mean MS-SSIM to the dense model's pictures, and MS-SSIM per caption."""
    return compared("ms_ssim", sample, ms_ssim, least=LEAST)


# Tolerance and noise are SSIM's. No noise of pictures of this size is measured yet.
METRIC = Metric(
    name="ms_ssim",
    label="MS-SSIM to dense",
    summary="SSIM to dense at five sizes, for pictures of 176 × 176 or more; 1: equal",
    measure=measure,
    direction="higher",
    decimals=3,
    pairing="caption",
    takes=frozenset({"pictures", "dense"}),
    tolerance=0.005,
    noise=5e-5,
    default=False,
    short="likeness to the dense model's picture at five sizes",
)
