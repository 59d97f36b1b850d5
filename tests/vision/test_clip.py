"""open_clip and transformers as scorers: the same network gives the same figures, and what is wrong is one message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytest.importorskip("open_clip", reason="wants the extra `vision`: make test-vision")

from harness.errors import HarnessError
from harness.quality.openclip import OpenClipJudge
from harness.quality.scorers import load_scorer
from harness.quality.vision import ClipJudge, Judge, open_all
from harness.quality.vision import pictures as files_of
from tests.pretend_gpu import pretend_gpu
from tests.vision.networks import ARCHITECTURE

CPU = torch.device("cpu")
CAPTIONS = ["A red bus, parked on the street.", "Two dogs & a cat (asleep)", "word " * 200, ""]


@pytest.fixture(scope="module")
def judges(place: Path) -> tuple[Judge, Judge]:
    both = [load_scorer(name, CPU) for name in (f"open_clip:{ARCHITECTURE}:{place}/clip.safetensors", f"{place}/clip")]
    return both[0], both[1]


@pytest.fixture(scope="module")
def images(pictures: tuple[Path, Path]) -> Tensor:
    return torch.stack(open_all(files_of(pictures[0])[:12]))


def test_on_a_gpu(place: Path, judges: tuple[Judge, Judge], images: Tensor) -> None:
    for name, judge in zip(
        (f"open_clip:{ARCHITECTURE}:{place}/clip.safetensors", f"{place}/clip"), judges, strict=True
    ):
        with pretend_gpu():
            found = load_scorer(name, torch.device("cuda", 0)).look(images[:4], CAPTIONS)
        assert torch.allclose(found.clip, judge.look(images[:4], CAPTIONS).clip, rtol=1e-4, atol=1e-3)


def test_open_clip_and_transformers_agree_on_the_same_network(judges: tuple[Judge, Judge], images: Tensor) -> None:
    theirs, ours = (judge.look(images, CAPTIONS * 3) for judge in judges)
    assert isinstance(judges[0], OpenClipJudge) and isinstance(judges[1], ClipJudge)
    assert theirs.features.shape == (12, 512) and theirs.features.std() > 1e-3
    torch.testing.assert_close(theirs.features, ours.features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.embeddings, ours.embeddings, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.clip, ours.clip, rtol=0, atol=1e-3)
    assert theirs.clip.std() > 0.1


def test_scores_are_those_of_open_clip_itself(judges: tuple[Judge, Judge], images: Tensor, place: Path) -> None:
    import open_clip
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, str(place / "clip.safetensors"))
    model.eval()
    pixels = torch.stack([preprocess(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images[:4]])
    with torch.inference_mode():
        seen = model.encode_image(pixels, normalize=True)
        read = model.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(CAPTIONS), normalize=True)
    found = judges[0].look(images[:4], CAPTIONS)
    torch.testing.assert_close(found.clip, 100 * (seen * read).sum(1), rtol=0, atol=1e-3)


def test_features_do_not_depend_on_the_batch(judges: tuple[Judge, Judge], images: Tensor) -> None:
    for judge in judges:
        whole = judge.features(images[:5])
        assert torch.equal(whole, judge.features(images[:5]))
        alone = torch.cat([judge.features(images[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)
        sizes = [images[0], images[1, :, :50], images[2, :, :, :40]]
        assert judge.features(sizes).shape == (3, 512)


def test_the_digest_is_that_of_weights_and_name(place: Path, judges: tuple[Judge, Judge], tmp_path: Path) -> None:
    assert OpenClipJudge(ARCHITECTURE, str(place / "clip.safetensors"), CPU).digest == judges[0].digest
    assert OpenClipJudge("ViT-B-32", str(place / "clip.safetensors"), CPU).digest != judges[0].digest
    state = load_file(place / "clip.safetensors")
    save_file(state | {"text_projection": state["text_projection"] * 2}, tmp_path / "other.safetensors")
    assert OpenClipJudge(ARCHITECTURE, str(tmp_path / "other.safetensors"), CPU).digest != judges[0].digest


def test_the_encoder_under_test_does_not_judge_itself(judges: tuple[Judge, Judge]) -> None:
    weight = judges[0].model.token_embedding.weight
    for judge in judges:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            with pytest.raises(HarnessError, match="give a CLIP of another family"):
                judge.refuse(nn.Sequential(nn.Embedding.from_pretrained(weight.to(dtype))))
        judge.refuse(nn.Sequential(nn.Embedding(*weight.shape), nn.Embedding(77, 512)))


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("ViT-B-33", "{place}/clip.safetensors", "unknown architecture of open_clip 'ViT-B-33'; did you mean ViT-B-32"),
        ("ViT-L-14", "{place}/clip.safetensors", "the scorer ViT-L-14 cannot be loaded from"),
        ("ViT-B-32", "{place}/garbage.safetensors", "the scorer ViT-B-32 cannot be loaded from"),
        ("ViT-B-32", "laion2b", "unknown weights of ViT-B-32 'laion2b'; did you mean laion2b_"),
        ("ViT-B-32", "openai", "another activation than ViT-B-32 has: give ViT-B-32-quickgelu:openai"),
    ],
)
def test_what_is_wrong_is_one_message(place: Path, architecture: str, weights: str, message: str) -> None:
    (place / "garbage.safetensors").write_bytes(b"no weights")
    with pytest.raises(HarnessError) as error:
        OpenClipJudge(architecture, weights.format(place=place), CPU)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tag_is_downloaded_with_its_preprocessing(
    place: Path, judges: tuple[Judge, Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    monkeypatch.setattr(open_clip, "download_pretrained", lambda about: os.fspath(place / "clip.safetensors"))
    assert OpenClipJudge(ARCHITECTURE, "openai", CPU).digest == judges[0].digest
    known = open_clip.get_pretrained_cfg(ARCHITECTURE, "openai") | {"mean": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: known)
    found = OpenClipJudge(ARCHITECTURE, "openai", CPU)
    assert found.digest != judges[0].digest and found.model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)


def test_a_pickle_or_no_download_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def refused(about: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(open_clip, "download_pretrained", lambda about: "cache/weights.bin")
    with pytest.raises(HarnessError, match="only as a pickle"):
        OpenClipJudge("ViT-B-32", "laion2b_s34b_b79k", CPU)
    monkeypatch.setattr(open_clip, "download_pretrained", refused)
    with pytest.raises(HarnessError, match=r"cannot be downloaded \(no route\); give a safetensors file"):
        OpenClipJudge("ViT-B-32", "laion2b_s34b_b79k", CPU)
