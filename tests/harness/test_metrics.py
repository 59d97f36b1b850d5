"""Metrics against torchmetrics, a naive float64 computation, and what they must not do."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd
from torchmetrics.multimodal.clip_score import CLIPScore

from harness.engine import Engine
from harness.errors import HarnessError
from harness.measurement import averaged, mean, share
from harness.quality import kid as kernel
from harness.quality.clip import clip_scores
from harness.quality.composition import Composition
from harness.quality.degenerate import degenerate
from harness.quality.drift import drift
from harness.quality.fid import FEW, RESAMPLES, between, fid, picks, reference, resampled, summarise
from harness.quality.generate import quantised
from harness.quality.judging import Opinion, merged


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


def test_large_matrices_are_resampled_less_often() -> None:
    assert [len(picks(n, d)) for n, d in ((64, 2048), (2000, 1024), (1025, 1025))] == [RESAMPLES, RESAMPLES, FEW]
    assert torch.equal(picks(1025, 1025), picks(1025)[:FEW])


@pytest.mark.parametrize("n", [40, 1500])
def test_kid_equals_torchmetrics(n: int) -> None:
    ours, theirs = sample(n, 0.3, 1), sample(n, 0.0, 2)
    metric = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=n, normalize=True)
    metric.set_dtype(torch.float64)
    metric.inception = Flat()
    for real, features in ((True, theirs), (False, ours)):
        metric.update(features.view(-1, 3, 2, 2), real=real)
    value, resamples = kernel.kid(ours, kernel.Reference(theirs))
    assert value == pytest.approx(1000 * float(metric.compute()[0]), rel=1e-6)
    # A half-sample is that of its pictures; the reference, of any size, stays whole.
    half, ref = ours[kernel.halves(n)[17]], kernel.Reference(theirs[: n // 2])
    assert kernel.kid(half, ref)[0] == pytest.approx(1000 * float(poly_mmd(ref.features, half)), rel=1e-6)
    expected = kernel.kid(half, kernel.Reference(theirs))[0]
    assert resamples[17].item() == pytest.approx(expected, rel=1e-9)


def test_kid_half_samples_spread_as_the_figure_does() -> None:
    ref = kernel.Reference(sample(2000, 0.0, 2))
    mixing = sample(4000, 0.0, 2)
    draws = [kernel.kid(mixing[i * 100 : i * 100 + 100] + 0.5, ref) for i in range(40)]
    spread = torch.tensor([value for value, _ in draws]).std().item()
    assert 0.5 < sum(of.std().item() for _, of in draws) / len(draws) / spread < 2


def test_kid_of_one_distribution_is_nothing_on_average() -> None:
    mixing = sample(4000, 0.0, 2)
    ref = kernel.Reference(mixing[2000:])
    found = torch.tensor([kernel.kid(mixing[i * 50 : i * 50 + 50], ref)[0] for i in range(40)])
    assert abs(found.mean().item()) < 3 * found.std().item() / 40**0.5 and found.min() < 0


def test_kid_refuses_what_it_cannot_measure() -> None:
    ref = kernel.Reference(sample(50, 0.0, 2))
    with pytest.raises(HarnessError, match="at least four pictures"):
        kernel.kid(sample(3, 0.0, 1), ref)
    with pytest.raises(HarnessError, match="finite"):
        kernel.kid(torch.full((4, 12), math.nan), ref)
    with pytest.raises(HarnessError, match="two reference pictures"):
        kernel.Reference(sample(1, 0.0, 1))


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


@pytest.mark.parametrize("n", [5, 12, 13, 60])
def test_fid_between_two_sets_equals_the_one_to_a_reference(n: int) -> None:
    ours, theirs = sample(n, 0.3, 1), sample(n, 0.0, 2)
    value, resamples = between(ours, theirs)
    assert value == pytest.approx(fid(ours, reference(*summarise(theirs), n)).value, rel=1e-6)
    # A resample takes the same captions of both.
    chosen = picks(n)[17]
    expected = fid(ours[chosen], reference(*summarise(theirs[chosen]), n)).value
    assert resamples[17].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_fid_of_a_set_to_itself_is_nothing() -> None:
    value, resamples = between(sample(64, 0.0, 1), sample(64, 0.0, 1))
    assert abs(value) < 1e-8 and float(resamples.abs().max()) < 1e-8
    with pytest.raises(HarnessError, match="two or more pictures of each kind"):
        between(sample(4, 0.0, 1), sample(5, 0.0, 1))


def test_drift_is_one_less_the_cosine_with_all_its_digits() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(7, 20, generator=rng, dtype=torch.float64)) for _ in "ab")
    for i, found in enumerate(drift(a, b).tolist()):
        cos = sum(x * y for x, y in zip(a[i].tolist(), b[i].tolist(), strict=True))
        assert found == pytest.approx(100 * (1 - cos), abs=1e-10)
    assert drift(a, a).tolist() == [0.0] * 7
    near = torch.nn.functional.normalize(a + 1e-9 * b)
    assert 0 < float(drift(near, a).max()) < 1e-14
    with pytest.raises(HarnessError, match="pairs pictures"):
        drift(a, b[:3])


def test_degenerate_pictures_are_flat_or_not_finite() -> None:
    made = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made[1] = 0.5
    made[2, 0, 0, 0] = math.nan
    made[3] = 0.0
    made[4, :2] = 0.25  # one channel alone still shows something
    assert degenerate(made, quantised(made)).tolist() == [False, True, True, True, False]


def test_opinions_merge_to_that_on_all_pictures() -> None:
    rng = torch.Generator().manual_seed(0)
    right = torch.rand(6, 9, generator=rng) > 0.1
    whole = Opinion(
        torch.randn(6, 5, generator=rng), torch.randn(6, 4, generator=rng), torch.randn(6, generator=rng),
        Composition(right, torch.zeros(6, 9, dtype=torch.int64)),
    )  # fmt: skip

    def part(where: slice) -> Opinion:
        composition = Composition(whole.composition.right[where], whole.composition.wanted[where])
        return Opinion(whole.features[where], whole.embeddings[where], whole.clip[where], composition)

    for cut in range(1, 6):
        found = merged([part(slice(0, cut)), part(slice(cut, 6))])
        assert torch.equal(found.features, whole.features) and torch.equal(found.clip, whole.clip)
        assert torch.equal(found.embeddings, whole.embeddings)
        assert found.composition.accuracy() == whole.composition.accuracy()


def test_clip_score_equals_torchmetrics(engine: Engine) -> None:
    scorer = engine.judges.clip
    images = torch.randint(0, 256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    captions = engine.captions[:6]

    class Model(nn.Module):
        config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=10_000))

        def get_image_features(self, pixels: Tensor) -> Tensor:
            return 3 * scorer.embed_image(pixels)

        def get_text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return 2 * scorer.embed_text(tokens)

    def processor(text: Any = None, images: Any = None, **_: object) -> dict[str, Tensor]:
        if images is not None:
            return {"pixel_values": torch.stack(images).float() / 127.5 - 1}
        tokens = scorer.tokens(text)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    metric = CLIPScore(model_name_or_path=lambda: (Model(), processor))
    with torch.inference_mode():
        metric.update(list(images), captions)
        ours = clip_scores(scorer, scorer.embed_image(images.float() / 127.5 - 1), captions)
    # torchmetrics clamps the mean at 0; on noise it may be below.
    assert max(0.0, ours.mean().item()) == pytest.approx(float(metric.compute()), abs=1e-4)


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


def test_means_over_groups() -> None:
    values = torch.tensor([1.0, 3.0, 10.0, 5.0])
    assert averaged(values, [0, 0, 1, 0]).tolist() == [3.0, 10.0]
    assert averaged(values, None).tolist() == values.tolist()
