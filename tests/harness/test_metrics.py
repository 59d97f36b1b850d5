"""Metrics against torchmetrics, a naive float64 computation, and what they must not do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from harness.errors import HarnessError
from harness.measurement import mean, share
from harness.quality.composition import Composition
from harness.quality.fid import fid, reference, summarise
from harness.quality.generate import quantised


class Flat(nn.Module):
    """Pictures are their own features."""

    num_features = 12

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double()


def sample(n: int, shift: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    return torch.randn(n, 12, generator=generator, dtype=torch.float64) @ mixing + shift


@pytest.mark.parametrize("n", [40, 400])
def test_fid_equals_torchmetrics(n: int) -> None:
    ours, theirs = sample(n, 0.3, 1), sample(500, 0.0, 2)
    metric = FrechetInceptionDistance(feature=Flat(), normalize=True).set_dtype(torch.float64)
    metric.inception = Flat()
    for real, features in ((True, theirs), (False, ours)):
        metric.update(features.view(-1, 3, 2, 2), real=real)
    found = fid(ours, reference(*summarise(theirs), len(theirs)))
    assert found.value == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.parametrize("n", [5, 12, 13, 60])
def test_fid_equals_the_definition_at_any_rank(n: int) -> None:
    ours, (m2, s2) = sample(n, 0.3, 1), summarise(sample(500, 0.0, 2))
    m1, s1 = summarise(ours)
    product = torch.linalg.eigvals(s1 @ s2).real.clamp(min=0).sqrt().sum()
    expected = (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * product
    assert fid(ours, reference(m2, s2, 500)).value == pytest.approx(float(expected), rel=1e-5)


def test_fid_standard_error_is_the_spread_over_samples() -> None:
    ref = reference(*summarise(sample(4000, 0.0, 2)), 4000)
    mixing = sample(4000, 0.0, 2)
    draws = [fid(mixing[i * 100 : i * 100 + 100] + 0.2, ref) for i in range(40)]
    spread = torch.tensor([d.value for d in draws]).std().item()
    assert 0.5 < sum(d.se for d in draws) / len(draws) / spread < 2


def test_fid_refuses_what_it_cannot_measure() -> None:
    ref = reference(*summarise(sample(50, 0.0, 2)), 50)
    with pytest.raises(HarnessError, match="at least two pictures"):
        fid(sample(1, 0.0, 1), ref)
    with pytest.raises(HarnessError, match="finite"):
        fid(torch.full((4, 12), math.nan), ref)


def test_mean_and_share() -> None:
    found = mean(torch.tensor([1.0, 2.0, 3.0]))
    assert (found.value, found.n) == (2.0, 3) and found.se == pytest.approx(1 / math.sqrt(3))
    assert share(torch.tensor([True] * 10)).value == 1.0 and share(torch.tensor([True] * 10)).se > 0.05
    with pytest.raises(HarnessError, match="too few"):
        mean(torch.tensor([1.0]))
    with pytest.raises(HarnessError, match="degenerate"):
        mean(torch.tensor([1.0, math.nan]))


def test_composition_ignores_what_a_scene_does_not_have() -> None:
    right = torch.ones(3, 9, dtype=torch.bool)
    right[1, 4] = False
    wanted = torch.zeros(3, 9, dtype=torch.int64)
    wanted[:, 6:] = -100
    found = Composition(right, wanted)
    assert found.accuracy().value == pytest.approx(2 / 3)
    assert found.by_attribute()["colour"].value == pytest.approx(2 / 3) and "colour 2" not in found.by_attribute()


def test_quantised_rounds_and_clips() -> None:
    found = quantised(torch.tensor([-0.1, 0.0, 0.5, 0.999, 1.0, 2.0, math.nan]))
    assert found.tolist() == [0, 0, 128, 255, 255, 255, 0]
