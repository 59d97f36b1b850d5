"""The numbers of a model's weights are those of their definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.surgery.fingerprint import PART, fingerprint


def test_numbers_are_those_of_the_definition() -> None:
    """The reference sums all weights in float64. Some lengths are odd, one is longer than a part."""
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(1, 3), nn.Linear(7, 33), nn.Conv2d(5, 3, 3), nn.Linear(PART // 256 + 1, 259)])
    expected = []
    for layer in layers:
        weight = layer.weight.detach().double().flatten()
        signs = torch.arange(len(weight)) % 2 * -2 + 1
        expected += [weight.square().mean().sqrt().item(), (weight * signs).sum().item() / math.sqrt(len(weight))]
    assert fingerprint({"toy": layers}) == pytest.approx(expected, rel=1e-9)
