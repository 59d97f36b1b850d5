"""open_clip and transformers as scorers: the same network gives the same figures, and what is wrong is one message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytest.importorskip("open_clip", reason="needs the extra `vision`: make test-vision")

from harness.errors import HarnessError
from harness.metrics.reference import open_pictures, picture_files
from harness.metrics.scorers import load_scorer
from harness.metrics.scorers.clip import ClipScorer, TransformersClip
from harness.metrics.scorers.open_clip import OpenClip
from tests.pretend_gpu import pretend_gpu
from tests.vision.networks import ARCHITECTURE

CPU = torch.device("cpu")
CAPTIONS = ["A red bus, parked on the street.", "Two dogs & a cat (asleep)", "word " * 200, ""]


def names(place: Path) -> tuple[str, str]:
    """Return the same network by two names."""
    return f"open_clip:{ARCHITECTURE}:{place}/clip.safetensors", f"{place}/clip"


@pytest.fixture(scope="module")
def scorers(place: Path) -> tuple[ClipScorer, ClipScorer]:
    first, second = (load_scorer(name, CPU) for name in names(place))
    assert isinstance(first, OpenClip) and isinstance(second, TransformersClip)
    return first, second


@pytest.fixture(scope="module")
def images(pictures: tuple[Path, Path]) -> Tensor:
    return torch.stack(open_pictures(picture_files(pictures[0])[:12]))


def test_on_a_gpu(place: Path, scorers: tuple[ClipScorer, ClipScorer], images: Tensor) -> None:
    for name, scorer in zip(names(place), scorers, strict=True):
        with pretend_gpu():
            seen = load_scorer(name, torch.device("cuda", 0)).look(images[:4], CAPTIONS)
        assert torch.allclose(seen.scores, scorer.look(images[:4], CAPTIONS).scores, rtol=1e-4, atol=1e-3)


def test_open_clip_and_transformers_agree_on_the_same_network(
    scorers: tuple[ClipScorer, ClipScorer], images: Tensor
) -> None:
    theirs, ours = (scorer.look(images, CAPTIONS * 3) for scorer in scorers)
    assert theirs.features.shape == (12, 512) and theirs.features.std() > 1e-3
    torch.testing.assert_close(theirs.features, ours.features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.embeddings, ours.embeddings, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.scores, ours.scores, rtol=0, atol=1e-3)
    assert theirs.scores.std() > 0.1


def test_scores_are_those_of_open_clip_itself(
    scorers: tuple[ClipScorer, ClipScorer], images: Tensor, place: Path
) -> None:
    import open_clip
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, str(place / "clip.safetensors"))
    model.eval()
    pixels = torch.stack([preprocess(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images[:4]])
    with torch.inference_mode():
        seen = model.encode_image(pixels, normalize=True)
        read = model.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(CAPTIONS), normalize=True)
    ours = scorers[0].look(images[:4], CAPTIONS)
    torch.testing.assert_close(ours.scores, 100 * (seen * read).sum(1), rtol=0, atol=1e-3)


def test_features_do_not_depend_on_the_batch(scorers: tuple[ClipScorer, ClipScorer], images: Tensor) -> None:
    for scorer in scorers:
        whole = scorer.features(images[:5])
        assert torch.equal(whole, scorer.features(images[:5]))
        alone = torch.cat([scorer.features(images[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)
        sizes = [images[0], images[1, :, :50], images[2, :, :, :40]]
        assert scorer.features(sizes).shape == (3, 512)


def test_the_digest_is_that_of_weights_and_name(
    place: Path, scorers: tuple[ClipScorer, ClipScorer], tmp_path: Path
) -> None:
    assert OpenClip(ARCHITECTURE, str(place / "clip.safetensors"), CPU).digest == scorers[0].digest
    assert OpenClip("ViT-B-32", str(place / "clip.safetensors"), CPU).digest != scorers[0].digest
    state = load_file(place / "clip.safetensors")
    save_file(state | {"text_projection": state["text_projection"] * 2}, tmp_path / "other.safetensors")
    assert OpenClip(ARCHITECTURE, str(tmp_path / "other.safetensors"), CPU).digest != scorers[0].digest


def test_the_encoder_under_test_does_not_score_itself(scorers: tuple[ClipScorer, ClipScorer]) -> None:
    weight = scorers[0].model.token_embedding.weight
    for scorer in scorers:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            with pytest.raises(HarnessError, match="give a CLIP of another family"):
                scorer.refuse(nn.Sequential(nn.Embedding.from_pretrained(weight.to(dtype))))
        scorer.refuse(nn.Sequential(nn.Embedding(*weight.shape), nn.Embedding(77, 512)))


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        (
            "ViT-B-33",
            "{place}/clip.safetensors",
            "--scorer open_clip: architecture 'ViT-B-33' is unknown; did you mean ViT-B-32",
        ),
        ("ViT-L-14", "{place}/clip.safetensors", "--scorer open_clip: ViT-L-14 cannot be loaded from"),
        ("ViT-B-32", "{place}/garbage.safetensors", "garbage.safetensors is cut short or no safetensors file"),
        ("ViT-B-32", "laion2b", "--scorer open_clip:ViT-B-32: tag 'laion2b' is unknown; did you mean laion2b_"),
        ("ViT-B-32", "openai", "trained with another activation; give open_clip:ViT-B-32-quickgelu:openai"),
    ],
)
def test_what_is_wrong_is_one_message(place: Path, architecture: str, weights: str, message: str) -> None:
    (place / "garbage.safetensors").write_bytes(b"no weights")
    with pytest.raises(HarnessError) as error:
        OpenClip(architecture, weights.format(place=place), CPU)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "rows"), [("positional_embedding", 90), ("visual.positional_embedding", 65)])
def test_positions_that_do_not_fit_are_refused_and_not_resized(
    place: Path, tmp_path: Path, name: str, rows: int
) -> None:
    state = load_file(place / "clip.safetensors")
    path = tmp_path / "other.safetensors"
    save_file(state | {name: torch.zeros(rows, state[name].shape[1])}, path)
    with pytest.raises(HarnessError, match=rf"1 of another shape \({name}: \[{rows}, \d+\] instead of ") as error:
        load_scorer(f"open_clip:{ARCHITECTURE}:{path}", CPU)
    assert str(error.value).startswith(f"--scorer open_clip:{ARCHITECTURE}:{path}")


def test_a_tag_is_downloaded_with_its_preprocessing(
    place: Path, scorers: tuple[ClipScorer, ClipScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    monkeypatch.setattr(open_clip, "download_pretrained", lambda about: os.fspath(place / "clip.safetensors"))
    assert OpenClip(ARCHITECTURE, "openai", CPU).digest == scorers[0].digest
    known = open_clip.get_pretrained_cfg(ARCHITECTURE, "openai") | {"mean": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: known)
    other = OpenClip(ARCHITECTURE, "openai", CPU)
    assert other.digest != scorers[0].digest and other.model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)


def test_a_pickle_or_no_download_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def refused(about: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(open_clip, "download_pretrained", lambda about: "cache/weights.bin")
    with pytest.raises(HarnessError, match="exists only as a pickle"):
        OpenClip("ViT-B-32", "laion2b_s34b_b79k", CPU)
    monkeypatch.setattr(open_clip, "download_pretrained", refused)
    with pytest.raises(HarnessError, match=r"cannot be downloaded \(no route\); give a safetensors file"):
        OpenClip("ViT-B-32", "laion2b_s34b_b79k", CPU)
