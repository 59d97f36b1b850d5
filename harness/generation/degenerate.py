"""Degenerate pictures: pictures with values that are not finite, and pictures that show nothing."""

from __future__ import annotations

import torch
from torch import Tensor

# A picture shows nothing where no colour channel varies by more than this many of its 256 steps.
FLAT = 2


def degenerate(made: Tensor, quantised: Tensor) -> Tensor:
    """Return which pictures have a pixel that is not finite, or vary by at most `FLAT` steps in every colour channel.

    Args:
        made: Pictures as the pipeline returned them, float `[n, 3, h, w]`.
        quantised: The same pictures, uint8 `[n, 3, h, w]`.

    Returns:
        bool `[n]`.
    """
    flat = quantised.flatten(2)
    span = (flat.amax(2).int() - flat.amin(2).int()).amax(1)
    return ~torch.isfinite(made).flatten(1).all(1) | (span <= FLAT)
