"""What holds for pictures, metrics and scorers whatever the model is. Each check is green without a defect."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.execution import pictures
from harness.execution import run as running
from harness.generation import degenerate, generate
from harness.metrics import METRICS, frechet
from harness.metrics.metric import Sample
from harness.metrics.reference import Reference
from harness.metrics.scorers import load_scorer, scenes
from harness.scenes.captions import held_out
from harness.scenes.render import render
from tests.metrics.features import drawn
from tests.metrics.samples import evidence

CPU = torch.device("cpu")


def flags_belong_to_their_pictures(_: Path) -> None:
    """The second picture of the first batch shows nothing, and the third of the last: the flags say just that."""
    captions = ["blank" if i in (1, 7) else "noise" for i in range(8)]

    def call(target: Any, captions: list[str], *_: Any) -> Tensor:
        shown = torch.rand(len(captions), 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return shown * torch.tensor([caption != "blank" for caption in captions]).view(-1, 1, 1, 1)

    target = SimpleNamespace(
        protocol=SimpleNamespace(num_inference_steps=1), family=SimpleNamespace(fewest_steps=1), pipeline=None
    )
    prompts: Any = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "call", call)
        made = pictures.make(target, captions, prompts, 3, lambda text: None)
    assert made.degenerate.tolist() == [caption == "blank" for caption in captions]


def three_steps_are_a_picture(_: Path) -> None:
    """A picture that varies by two of 256 steps shows nothing, one that varies by three shows something."""
    flat = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    flat[0, 1, 2, 2], flat[1, 1, 2, 2] = 102, 103
    assert degenerate.degenerate(flat / 255, flat).tolist() == [True, False]


def the_row_dense_compares_two_batch_sizes(_: Path) -> None:
    """The pictures that the row dense is compared with are made again, in two batches or more."""
    sizes: list[int] = []

    def made(target: object, captions: object, prompts: object, batch_size: int, *_: object) -> SimpleNamespace:
        sizes.append(batch_size)
        return SimpleNamespace()

    # The tier smoke has fewer captions than a batch could hold.
    texts = ["a red dog"] * 10
    setup = SimpleNamespace(batch_size=32)
    bench: Any = SimpleNamespace(setup=setup, look=lambda pictures: pictures, texts=texts, target=None, prompts=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "make", made)
        running._null_arm(bench, None, lambda text: None)
    assert sizes == [5]


def fid_errs_as_it_says(_: Path) -> None:
    """The standard error of FID is the spread of FID over samples of pictures, within a factor of two."""
    known = drawn(3000, 0.0, 2)
    reference = Reference(frechet.reference(*frechet.summarise(known), len(known)), None, "")
    figures = []
    for i in range(30):
        own = evidence(100, i)
        own = type(own)(known[100 * i : 100 * i + 100] + 0.2, own.embeddings, own.scores, own.degenerate)
        sample = Sample(own, own, reference, [f"caption {i}" for i in range(100)], None, "cpu")
        figures.append(METRICS["fid"].compute(sample).figure)
    spread = float(np.std([figure.value for figure in figures], ddof=1))
    assert 0.5 < sum(figure.se for figure in figures) / len(figures) / spread < 2


def references_are_the_covariance_of_a_sample(_: Path) -> None:
    """Mean and covariance of reference pictures are those of numpy, divided by n - 1."""
    features = drawn(20, 0.3, 1)
    mean, covariance = frechet.summarise(features)
    np.testing.assert_allclose(mean.numpy(), features.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance.numpy(), np.cov(features.numpy().T, ddof=1), rtol=1e-10)


def pictures_are_rounded(_: Path) -> None:
    """A value just below a step becomes that step."""
    steps = torch.arange(256).view(1, 1, 16, 16)
    for off in (-0.4, 0.4):
        assert torch.equal(generate.quantised((steps + off) / 255), steps.to(torch.uint8))


def blocks_of_scenes_keep_their_captions(_: Path) -> None:
    """Pictures that are scored in blocks of five get the scores of pictures that are scored in one block."""
    pairs = held_out()[:12]
    images = (render([scene for _, scene in pairs], 0) * 255).round().to(torch.uint8)
    scorer, captions = load_scorer("scenes", CPU), [caption for caption, _ in pairs]
    whole = scorer.look(images, captions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "BATCH", 5)
        torch.testing.assert_close(scorer.look(images, captions).scores, whole.scores, rtol=0, atol=1e-3)
