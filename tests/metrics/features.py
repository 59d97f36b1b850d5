"""Features that tests of distances share: drawn from one distribution, or shifted."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Flat(nn.Module):
    """The network that torchmetrics takes features from: a picture is its own features."""

    num_features = 12

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double()


def drawn(n: int, shift: float, seed: int) -> Tensor:
    """Return float64 `[n, 12]` from a normal distribution with correlations."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    return torch.randn(n, 12, generator=generator, dtype=torch.float64) @ mixing + shift
