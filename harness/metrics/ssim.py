"""SSIM: how alike a picture and the dense model's picture are in brightness, contrast and structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.pairs import compared

if TYPE_CHECKING:
    from torch import Tensor

# Side of the Gaussian window, whose standard deviation is 1.5.
WINDOW = 11


def ssim(pictures: Tensor, dense: Tensor) -> Tensor:
    """Return the structural similarity of every pair (Wang et al., IEEE Trans. Image Process. 13, 2004, eq. 13).

    1: the pictures are equal. torchmetrics computes it, in float32 on the CPU.

    Differs: the mean is over red, green and blue, and over every place of the picture; windows at the edge see the
    picture mirrored. The paper takes grey values and whole windows only.

    Args:
        pictures: uint8 `[n, 3, h, w]`, h and w at least `WINDOW`: a smaller picture does not hold one window.
        dense: The dense model's pictures, in the same order.

    Returns:
        float32 `[n]`.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    similar = structural_similarity_index_measure(
        pictures.float(), dense.float(), kernel_size=WINDOW, reduction="none", data_range=255.0
    )
    assert not isinstance(similar, tuple)
    return similar.reshape(-1)


def measure(sample: Sample) -> Values:
    """Return the mean SSIM to the dense model's pictures, and SSIM per caption."""
    return compared("ssim", sample, ssim, least=WINDOW)


# Tolerance and noise rest on 64 captions of `scenes`, six cases, one machine: with other threads and batch sizes the
# mean moves by 5e-7, and float32 itself is off by 3e-5. Other machines are not yet measured.
METRIC = Metric(
    name="ssim",
    label="SSIM to dense",
    summary="structural similarity to the dense model's picture of the same caption and start noise; 1: equal",
    measure=measure,
    direction="higher",
    decimals=3,
    pairing="caption",
    takes=frozenset({"pictures", "dense"}),
    tolerance=0.002,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.023,
    spread=0.0001,
    effect_tolerance=0.015,
    default=False,
    short="likeness to the dense model's picture",
)
