"""KID against torchmetrics, and what its half-samples must show."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

from harness.errors import HarnessError
from harness.metrics.kid import kid, reference
from harness.metrics.mmd import halves
from tests.metrics.features import Flat, drawn


@pytest.mark.parametrize("n", [40, 1500])
def test_kid_equals_torchmetrics(n: int) -> None:
    ours, theirs = drawn(n, 0.3, 1), drawn(n, 0.0, 2)
    metric = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=n, normalize=True)
    metric.set_dtype(torch.float64)
    metric.inception = Flat()
    for real, features in ((True, theirs), (False, ours)):
        metric.update(features.view(-1, 3, 2, 2), real=real)
    value, resamples = kid(ours, reference(theirs))
    assert value == pytest.approx(1000 * float(metric.compute()[0]), rel=1e-6)
    # A half-sample is that of its pictures; the reference, of any size, stays whole.
    half, ref = ours[halves(n)[17]], reference(theirs[: n // 2])
    assert kid(half, ref)[0] == pytest.approx(1000 * float(poly_mmd(ref.features, half)), rel=1e-6)
    expected = kid(half, reference(theirs))[0]
    assert resamples[17].item() == pytest.approx(expected, rel=1e-9)


def test_half_samples_spread_as_the_figure_does() -> None:
    ref = reference(drawn(2000, 0.0, 2))
    mixing = drawn(4000, 0.0, 2)
    draws = [kid(mixing[i * 100 : i * 100 + 100] + 0.5, ref) for i in range(40)]
    spread = torch.tensor([value for value, _ in draws]).std().item()
    assert 0.5 < sum(of.std().item() for _, of in draws) / len(draws) / spread < 2


def test_kid_of_one_distribution_is_nothing_on_average() -> None:
    mixing = drawn(4000, 0.0, 2)
    ref = reference(mixing[2000:])
    values = torch.tensor([kid(mixing[i * 50 : i * 50 + 50], ref)[0] for i in range(40)])
    assert abs(values.mean().item()) < 3 * values.std().item() / 40**0.5 and values.min() < 0


def test_captions_of_one_picture_are_in_a_half_sample_together() -> None:
    features, ref = drawn(30, 0.3, 1), reference(drawn(200, 0.0, 2))
    twice, groups = features.repeat_interleave(2, 0), [i // 2 for i in range(60)]
    of_groups = kid(twice, ref, groups)[1][17].item()
    chosen = torch.cat([torch.tensor([2 * i, 2 * i + 1]) for i in halves(30)[17].tolist()])
    assert of_groups == pytest.approx(kid(twice[chosen], ref)[0], rel=1e-9)
    torch.testing.assert_close(kid(features, ref, list(range(30)))[1], kid(features, ref)[1])


def test_what_cannot_be_measured_is_refused() -> None:
    ref = reference(drawn(50, 0.0, 2))
    with pytest.raises(HarnessError, match="at least four pictures"):
        kid(drawn(3, 0.0, 1), ref)
    with pytest.raises(HarnessError, match="finite"):
        kid(torch.full((4, 12), math.nan), ref)
    with pytest.raises(HarnessError, match="two reference pictures"):
        reference(drawn(1, 0.0, 1))
