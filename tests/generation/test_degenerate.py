"""Degenerate pictures, and the rounding of pictures to 8 bits: by hand."""

from __future__ import annotations

import math

import torch

from harness.generation.degenerate import degenerate
from harness.generation.generate import quantised


def test_degenerate_pictures_are_flat_or_not_finite() -> None:
    made = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made[1] = 0.5
    made[2, 0, 0, 0] = math.nan
    made[3] = 0.0
    made[4, :2] = 0.25  # one channel alone still shows something
    assert degenerate(made, quantised(made)).tolist() == [False, True, True, True, False]


def test_quantised_rounds_and_clips() -> None:
    rounded = quantised(torch.tensor([-0.1, 0.0, 0.5, 0.999, 1.0, 2.0, math.nan]))
    assert rounded.tolist() == [0, 0, 128, 255, 255, 255, 0] and rounded.dtype == torch.uint8
