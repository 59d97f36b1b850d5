"""The scorer of `scenes` on pictures that are drawn as captions say, and on wrong ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.metrics import composition
from harness.metrics.evidence import Evidence
from harness.metrics.scorers import load_scorer, scenes
from harness.metrics.scorers.scenes import ScenesScorer
from harness.scenes import weights
from harness.scenes.captions import held_out, sample_captions
from harness.scenes.render import render

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scorer() -> ScenesScorer:
    loaded = load_scorer("scenes", CPU)
    assert isinstance(loaded, ScenesScorer)
    return loaded


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, list[str]]:
    """Pictures of 20 captions of either list, and the captions."""
    pairs = held_out()[:20] + held_out("combination")[:20]
    images = (render([scene for _, scene in pairs], 0) * 255).round().to(torch.uint8)
    return images, [caption for caption, _ in pairs]


def right(evidence: Evidence) -> float:
    assert evidence.composition is not None
    return composition.exact(evidence.composition).double().mean().item()


def test_the_scene_of_every_caption_is_known_by_its_text(scorer: ScenesScorer, drawn: tuple[Tensor, list[str]]) -> None:
    images, captions = drawn
    seen = scorer.look(images, captions)
    assert scorer.sees_composition and right(seen) > 0.9 and seen.scores.mean() > 85
    assert seen.pictures is None and seen.degenerate.tolist() == [False] * 40
    shifted = scorer.look(images, captions[1:] + captions[:1])
    assert right(shifted) < 0.1 and shifted.scores.mean() < 50
    assert torch.equal(shifted.features, seen.features) and torch.equal(scorer.features(images), seen.features)
    assert torch.equal(scorer.features([*images]), seen.features)


def test_the_batch_changes_figures_by_rounding_only(
    scorer: ScenesScorer, drawn: tuple[Tensor, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scorer.look(*drawn)
    monkeypatch.setattr(scenes, "BATCH", 7)
    parts = scorer.look(*drawn)
    torch.testing.assert_close(parts.features, whole.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.embeddings, whole.embeddings, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.scores, whole.scores, rtol=0, atol=1e-3)
    assert parts.composition is not None and whole.composition is not None
    assert torch.equal(parts.composition.right, whole.composition.right)
    assert torch.equal(parts.composition.wanted, whole.composition.wanted)


def test_a_caption_that_is_on_no_list_is_refused(scorer: ScenesScorer) -> None:
    ((unknown, _),) = sample_captions(1, 0, "train")
    with pytest.raises(
        HarnessError, match=r"--scorer scenes knows the held-out captions .* is none of them; use another"
    ):
        scorer.look(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), [held_out()[0][0], unknown])


def test_the_digest_is_that_of_the_weights(scorer: ScenesScorer, tmp_path: Path) -> None:
    assert scorer.digest == weights.verified()["judges"]
    folder = tmp_path / "judges"
    shutil.copytree(weights.JUDGES, folder)
    assert ScenesScorer(folder, CPU).digest == scorer.digest
    content = bytearray((folder / "clip.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "clip.safetensors").write_bytes(content)
    assert ScenesScorer(folder, CPU).digest != scorer.digest


@pytest.mark.parametrize("name", ["reader.safetensors", "clip.safetensors"])
def test_a_damaged_file_is_one_message(tmp_path: Path, name: str) -> None:
    shutil.copytree(weights.JUDGES, tmp_path / "judges")
    (tmp_path / "judges" / name).write_bytes(b"no weights")
    with pytest.raises(HarnessError, match=rf"{name} cannot be read \(.*\); name a weights folder") as error:
        ScenesScorer(tmp_path / "judges", CPU)
    assert "\n" not in str(error.value)


def test_shipped_weights_that_have_changed_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(weights.WEIGHTS, tmp_path / "weights")
    (tmp_path / "weights" / "judges" / "clip.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(HarnessError, match=r"clip\.safetensors has changed"):
        load_scorer("scenes", CPU)
