"""The Fréchet distance against torchmetrics, against its definition, and where its figures must not move."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from harness.errors import HarnessError
from harness.metrics.frechet import FEW, RESAMPLES, between, fid, picks, reference, resampled, summarise
from tests.metrics.features import Flat, drawn


@pytest.mark.parametrize("n", [40, 400])
def test_fid_equals_torchmetrics(n: int) -> None:
    ours, theirs = drawn(n, 0.3, 1), drawn(500, 0.0, 2)
    metric = FrechetInceptionDistance(feature=Flat(), normalize=True).set_dtype(torch.float64)
    metric.inception = Flat()
    for real, features in ((True, theirs), (False, ours)):
        metric.update(features.view(-1, 3, 2, 2), real=real)
    figure = fid(ours, reference(*summarise(theirs), len(theirs)))
    assert figure.value == pytest.approx(float(metric.compute()), rel=1e-6) and figure.n == n


@pytest.mark.parametrize("n", [5, 12, 13, 60])
def test_fid_equals_the_definition_at_any_rank(n: int) -> None:
    ours, (m2, s2) = drawn(n, 0.3, 1), summarise(drawn(500, 0.0, 2))
    m1, s1 = summarise(ours)
    product = torch.linalg.eigvals(s1 @ s2).real.clamp(min=0).sqrt().sum()
    expected = (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * product
    assert fid(ours, reference(m2, s2, 500)).value == pytest.approx(float(expected), rel=1e-5)


def test_the_standard_error_is_the_spread_over_samples() -> None:
    ref = reference(*summarise(drawn(4000, 0.0, 2)), 4000)
    mixing = drawn(4000, 0.0, 2)
    draws = [fid(mixing[i * 100 : i * 100 + 100] + 0.2, ref) for i in range(40)]
    spread = torch.tensor([d.value for d in draws]).std().item()
    assert 0.5 < sum(d.se for d in draws) / len(draws) / spread < 2


def test_what_cannot_be_measured_is_refused() -> None:
    ref = reference(*summarise(drawn(50, 0.0, 2)), 50)
    with pytest.raises(HarnessError, match="at least two pictures"):
        fid(drawn(1, 0.0, 1), ref)
    with pytest.raises(HarnessError, match="finite"):
        fid(torch.full((4, 12), math.nan), ref)
    with pytest.raises(HarnessError, match="two or more pictures of each kind"):
        between(drawn(4, 0.0, 1), drawn(5, 0.0, 1))
    with pytest.raises(HarnessError, match="finite"):
        between(drawn(4, 0.0, 1), torch.full((4, 12), math.inf))


def test_large_matrices_are_resampled_less_often() -> None:
    assert [len(picks(n, d)) for n, d in ((64, 2048), (2000, 1024), (1025, 1025))] == [RESAMPLES, RESAMPLES, FEW]
    assert torch.equal(picks(1025, 1025), picks(1025)[:FEW])


@pytest.mark.parametrize("n", [5, 12, 13, 60])
def test_the_distance_between_two_sets_equals_the_distance_to_a_reference(n: int) -> None:
    ours, theirs = drawn(n, 0.3, 1), drawn(n, 0.0, 2)
    value, resamples = between(ours, theirs)
    assert value == pytest.approx(fid(ours, reference(*summarise(theirs), n)).value, rel=1e-6)
    # A resample takes the same captions of both.
    chosen = picks(n)[17]
    expected = fid(ours[chosen], reference(*summarise(theirs[chosen]), n)).value
    assert resamples[17].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_distance_of_a_set_to_itself_is_nothing() -> None:
    value, resamples = between(drawn(64, 0.0, 1), drawn(64, 0.0, 1))
    assert abs(value) < 1e-8 and float(resamples.abs().max()) < 1e-8


def test_captions_of_one_picture_are_resampled_together() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(60, 8, generator=rng) + 0.3
    others = features + 0.5 * torch.randn(60, 8, generator=rng)
    ref = reference(*summarise(torch.randn(500, 8, generator=rng)), 500)
    twice, groups = features.repeat_interleave(2, 0), [i // 2 for i in range(120)]
    for single, grouped, alone in (
        (resampled(features, ref), resampled(twice, ref, groups), resampled(twice, ref)),
        (
            between(features, others),
            between(twice, others.repeat_interleave(2, 0), groups),
            between(twice, others.repeat_interleave(2, 0)),
        ),
    ):
        assert grouped[0] == pytest.approx(single[0], rel=0.05)
        # A picture that counts twice says nothing new: taken one by one, the error would come out too small.
        assert grouped[1].std().item() == pytest.approx(single[1].std().item(), rel=0.1)
        assert alone[1].std().item() < 0.85 * grouped[1].std().item()
    for measure in (lambda g: resampled(features, ref, g), lambda g: between(features, others, g)):
        torch.testing.assert_close(measure(list(range(60)))[1], measure(None)[1])
