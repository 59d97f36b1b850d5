"""`--scorer` and `--features`: what is wrong with a name is one message, before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import HarnessError
from harness.external import read_reference, write_reference
from harness.quality import scorers
from tests.pipelines import save_pictures


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "--scorer nowhere does not exist"),
        ("clip:ViT-B-32:x", "there is no scorer 'clip', wanted a folder or open_clip:ARCH:WEIGHTS"),
        ("open_clip:ViT-B-32", "wanted open_clip:ARCH:WEIGHTS, such as"),
        ("open_clip::x", "wanted open_clip:ARCH:WEIGHTS, such as"),
        ("open_clip:ViT-B-32:weights.pt", ".pt is a pickle and may run code; give safetensors"),
        ("open_clip:ViT-B-32:a/b", "the weights a/b do not exist"),
        ("open_clip:ViT-B-32:b.safetensors", "the weights b.safetensors do not exist"),
        ("open_clip:ViT-B-32:openai", "wants open_clip, which is not installed: pip install 'prunegate[vision]'"),
    ],
)
def test_a_wrong_scorer(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: None)
    with pytest.raises(HarnessError) as error:
        scorers.check_scorer(name)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inceptoin", "did you mean inception"),
        ("inception:nowhere.pth", "the weights nowhere.pth do not exist"),
        ("inception", "wants torch_fidelity, which is not installed: pip install 'prunegate[vision]'"),
    ],
)
def test_wrong_features(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: None)
    with pytest.raises(HarnessError) as error:
        scorers.check_features(name)
    assert message in str(error.value)


def test_right_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: find_spec("torch"))
    (tmp_path / "weights.safetensors").touch()
    for name in (str(tmp_path), f"open_clip:ViT-B-32:{tmp_path}/weights.safetensors", "open_clip:ViT-B-32:laion2b_x"):
        scorers.check_scorer(name)
    for name in ("clip", "inception", f"inception:{tmp_path}/weights.safetensors"):
        scorers.check_features(name)


class Means:
    """The mean of each colour, as features."""

    digest = "means"

    def features(self, images: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([image.float().mean((1, 2)) for image in images])


def test_a_reference_file_keeps_features_for_kid_and_one_without_them_gives_none(tmp_path: Path) -> None:
    save_pictures(tmp_path / "pictures", 5)
    kept = tmp_path / "kept.safetensors"
    assert write_reference(tmp_path / "pictures", Means(), kept) == 5
    distances, features, digest = read_reference(kept, Means())
    assert features is not None and features.features.shape == (5, 3) and distances.n == 5
    about = {"extractor": "means", "pictures": digest, "n": "5"}
    save_file({"mean": torch.zeros(3), "covariance": torch.eye(3)}, tmp_path / "old.safetensors", about)
    assert read_reference(tmp_path / "old.safetensors", Means())[1:] == (None, digest)
