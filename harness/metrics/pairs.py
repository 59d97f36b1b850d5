"""Metrics of picture pairs: a picture and the dense model's picture of the same caption and start noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics.metric import Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from torch import Tensor

# How many numbers of one set of pictures are compared at once: two pictures of 512 × 512, 170 of 64 × 64.
AT_ONCE = 2**21


def compared(name: str, sample: Sample, measure: Callable[[Tensor, Tensor], Tensor], least: int = 1) -> Values:
    """Compare every picture with the dense model's, a few at a time.

    Args:
        name: The metric's name, for messages.
        sample: The pictures of both models.
        measure: Takes pictures and the dense model's pictures, uint8 `[b, 3, h, w]` each, and returns one value per
            pair, `[b]`.
        least: The smallest height and width that the metric can measure.

    Returns:
        The mean, and the value per caption.

    Raises:
        HarnessError: The evidence holds no pictures, the two sets differ in shape, or the pictures are too small.
    """
    import torch

    own, dense = sample.own.pictures, sample.dense.pictures
    if own is None or dense is None:
        raise HarnessError(f"--metrics {name} needs the pictures of both models; keep them in the evidence")
    if own.shape != dense.shape:
        raise HarnessError(
            f"--metrics {name} pairs pictures by caption: the pictures have the shape {tuple(own.shape)}, the dense "
            f"model's {tuple(dense.shape)}; make both from the same captions in one size"
        )
    height, width = own.shape[2:]
    if min(height, width) < least:
        raise HarnessError(
            f"--metrics {name} needs pictures of {least} × {least} or more, and these are {height} × {width}; "
            f"leave {name} out"
        )
    step = max(1, AT_ONCE // own[0].numel())
    with torch.inference_mode():
        parts = [measure(a, b) for a, b in zip(torch.split(own, step), torch.split(dense, step), strict=True)]
    return by_caption(torch.cat(parts), sample.groups)
