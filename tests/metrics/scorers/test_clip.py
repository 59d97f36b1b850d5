"""A CLIP in a folder of transformers as the scorer, small and randomly initialised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from harness.errors import HarnessError
from harness.metrics.scorers import clip, load_scorer
from harness.metrics.scorers.clip import TransformersClip
from tests.pipelines import save_clip_scorer

CPU = torch.device("cpu")
CAPTIONS = ["A red bus, parked on the street.", "Two dogs & a cat (asleep)", "word " * 200, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scorer")
    save_clip_scorer(place)
    return place


@pytest.fixture(scope="module")
def scorer(folder: Path) -> TransformersClip:
    loaded = load_scorer(str(folder), CPU)
    assert isinstance(loaded, TransformersClip)
    return loaded


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 20, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_scores_are_those_of_the_network_itself(scorer: TransformersClip, images: torch.Tensor, folder: Path) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(
        images=[image.permute(1, 2, 0).numpy() for image in images], return_tensors="pt"
    )
    words = AutoTokenizer.from_pretrained(folder)(
        CAPTIONS, padding=True, truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        out = model(**pixels, **words)
    seen = scorer.look(images, CAPTIONS)
    expected = 100 * (normalize(out.image_embeds) * normalize(out.text_embeds)).sum(1)
    torch.testing.assert_close(seen.scores, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen.embeddings, normalize(out.image_embeds), rtol=1e-4, atol=1e-5)
    assert seen.composition is None and not scorer.sees_composition and not seen.degenerate.any()


def test_pictures_of_any_size_in_any_batch(
    scorer: TransformersClip, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [images[0], images[1, :, :17], images[2, :, :, :18]]
    whole = scorer.features(sizes)
    assert whole.shape == (3, 24) and whole.dtype == torch.float32
    monkeypatch.setattr(clip, "BATCH", 2)
    torch.testing.assert_close(scorer.features(sizes), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scorer.look(images, CAPTIONS).features, scorer.features(images), rtol=0, atol=0)


def test_the_digest_is_that_of_the_folder(scorer: TransformersClip, tmp_path: Path) -> None:
    for name, seed in (("same", 1), ("other", 2)):
        save_clip_scorer(tmp_path / name, seed)
    assert TransformersClip(tmp_path / "same", CPU).digest == scorer.digest
    assert TransformersClip(tmp_path / "other", CPU).digest != scorer.digest
    config = tmp_path / "same" / "preprocessor_config.json"
    config.write_text(config.read_text().replace("0.48145466", "0.5"))
    assert TransformersClip(tmp_path / "same", CPU).digest != scorer.digest


def test_the_encoder_under_test_does_not_score_itself(scorer: TransformersClip) -> None:
    weight = scorer.model.text_model.embeddings.token_embedding.weight
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        with pytest.raises(HarnessError, match="give a CLIP of another family"):
            scorer.refuse(nn.Sequential(nn.Embedding.from_pretrained(weight.detach().to(dtype))))
    scorer.refuse(nn.Sequential(nn.Embedding(*weight.shape), nn.Embedding(77, 32)))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_clip_is_one_message(folder: Path, tmp_path: Path, missing: str) -> None:
    for path in folder.iterdir():
        if path.name != missing:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(HarnessError, match=r"holds no CLIP; name a folder with config\.json and safetensors"):
        load_scorer(str(tmp_path), CPU)


def test_a_damaged_file_is_one_message(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() if path.suffix != ".safetensors" else b"no weights")
    with pytest.raises(HarnessError, match=r"model\.safetensors is cut short or no safetensors") as error:
        load_scorer(str(tmp_path), CPU)
    assert "\n" not in str(error.value)
