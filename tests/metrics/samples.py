"""Samples for tests of metrics: made-up evidence, or pictures alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.metrics.evidence import Composition, Evidence
from harness.metrics.metric import Sample


def evidence(n: int, seed: int, pictures: Tensor | None = None) -> Evidence:
    """Return evidence of n pictures: 6 features, 5 embeddings, 9 attributes of which the last three are absent."""
    rng = torch.Generator().manual_seed(seed)
    wanted = torch.zeros(n, 9, dtype=torch.int64)
    wanted[:, 6:] = -100
    return Evidence(
        torch.randn(n, 6, generator=rng),
        normalize(torch.randn(n, 5, generator=rng)),
        torch.randn(n, generator=rng),
        torch.rand(n, generator=rng) > 0.5,
        Composition((torch.rand(n, 9, generator=rng) > 0.1) | (wanted == -100), wanted),
        pictures,
    )


def sample(own: Evidence, dense: Evidence, groups: Sequence[int] | None = None) -> Sample:
    """Return a sample without a reference."""
    return Sample(own, dense, None, [f"caption {i}" for i in range(len(own))], groups, "cpu")


def pair(pictures: Tensor, dense: Tensor, groups: Sequence[int] | None = None) -> Sample:
    """Return a sample of pictures."""
    return sample(evidence(len(pictures), 0, pictures), evidence(len(dense), 1, dense), groups)


def noisy(n: int, size: int, by: float) -> tuple[Tensor, Tensor]:
    """Return smooth pictures, uint8 `[n, 3, size, size + 3]`, and the same with noise: 0 for the first, more each."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 4, 4, generator=rng)
    smooth = 255 * torch.nn.functional.interpolate(coarse, (size, size + 3), mode="bicubic").clamp(0, 1)
    noise = torch.randn(smooth.shape, generator=rng) * by * torch.arange(n).view(-1, 1, 1, 1) / n
    return smooth.round().to(torch.uint8), (smooth + noise).clamp(0, 255).round().to(torch.uint8)
