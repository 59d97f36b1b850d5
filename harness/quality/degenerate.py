"""Degenerate pictures: those that are not finite, or that show nothing at all."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the 256 steps of a colour channel: a picture in which no channel varies by more shows nothing.
FLAT = 2


def degenerate(made: Tensor, quantised: Tensor) -> Tensor:
    """Return bool `[n]`: a pixel is not finite, or no colour channel varies by more than `FLAT` steps.

    made: float `[n, 3, h, w]` as the pipeline returned them. quantised: the same as uint8.
    """
    flat = quantised.flatten(2)
    span = (flat.amax(2).int() - flat.amin(2).int()).amax(1)
    return ~torch.isfinite(made).flatten(1).all(1) | (span <= FLAT)
