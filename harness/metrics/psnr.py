"""PSNR: how far the values of a picture are from those of the dense model's picture, in decibels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.pairs import compared

if TYPE_CHECKING:
    from torch import Tensor


def psnr(pictures: Tensor, dense: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every pair in dB, 10·log₁₀(255² / mean squared error).

    torchmetrics computes it, in float64.

    Differs: equal pictures have an infinite ratio. Here they get the ratio of pictures that differ by one 8-bit step in
    one value. This is the largest possible figure: 89.03 dB for 64 × 64 pictures, 107.09 dB for 512 × 512 pictures.

    Args:
        pictures: uint8 `[n, 3, h, w]`.
        dense: The dense model's pictures, in the same order.

    Returns:
        float64 `[n]`.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    ratios = peak_signal_noise_ratio(
        pictures.double(), dense.double(), data_range=255.0, reduction="none", dim=(1, 2, 3)
    )
    return ratios.clamp(max=10 * math.log10(255**2 * pictures[0].numel()))


def measure(sample: Sample) -> Values:
    """Return the mean PSNR to the dense model's pictures, and PSNR per caption."""
    return compared("psnr", sample, psnr)


# Tolerance and noise rest on 64 captions of `scenes`, six cases, one machine: with other threads and batch sizes the
# mean moves by 8e-5 dB. They are larger because the ratio of nearly equal pictures, as on the dense row, moves by whole
# decibels with single steps of single values. Other machines are not yet measured.
METRIC = Metric(
    name="psnr",
    label="PSNR to dense",
    summary="peak signal-to-noise ratio to the dense model's picture of the same caption and start noise, in dB",
    measure=measure,
    direction="higher",
    decimals=2,
    pairing="caption",
    takes=frozenset({"pictures", "dense"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.014,
    spread=0.0001,
    effect_tolerance=0.55,
    # bfloat16 alone adds noise of 52 dB to pictures: it moves a value of 56 by 5, and one of 40 by 0.3.
    effect_ceiling=40.0,
    default=False,
    short="likeness to the dense model's picture, in dB",
)
