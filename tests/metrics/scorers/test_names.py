"""`--scorer` and `--features`: what is wrong with a name is one message, before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.metrics import scorers

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "--scorer nowhere does not exist; give a folder"),
        ("clip:ViT-B-32:x", "there is no scorer 'clip'; give a folder or open_clip:ARCH:WEIGHTS"),
        ("open_clip:ViT-B-32", "is not complete; give open_clip:ARCH:WEIGHTS, such as"),
        ("open_clip::x", "is not complete; give open_clip:ARCH:WEIGHTS, such as"),
        ("open_clip:ViT-B-32:weights.pt", ".pt is a pickle and may run code; give safetensors"),
        ("open_clip:ViT-B-32:a/b", "the weights a/b do not exist"),
        ("open_clip:ViT-B-32:b.safetensors", "the weights b.safetensors do not exist"),
        ("open_clip:ViT-B-32:openai", "needs open_clip, which is not installed; run `pip install -e '.[vision]'`"),
    ],
)
def test_a_wrong_scorer(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: None)
    for use in (scorers.check_scorer, lambda name: scorers.load_scorer(name, CPU)):
        with pytest.raises(HarnessError) as error:
            use(name)
        assert message in str(error.value) and str(error.value).startswith(f"--scorer {name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inceptoin", "did you mean inception"),
        ("clip", "is unknown; use one of: dinov2:DIR, inception, inception:FILE, scorer"),
        ("inception:nowhere.pth", "the weights nowhere.pth do not exist"),
        ("inception", "needs torch_fidelity, which is not installed; run `pip install -e '.[vision]'`"),
    ],
)
def test_wrong_features(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: None)
    for use in (scorers.check_features, lambda name: scorers.load_extractor(name, None, CPU)):
        with pytest.raises(HarnessError) as error:
            use(name)
        assert message in str(error.value) and str(error.value).startswith("--features")


def test_right_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda _: find_spec("torch"))
    (tmp_path / "weights.safetensors").touch()
    for name in ("scenes", str(tmp_path), f"open_clip:ViT-B-32:{tmp_path}/weights.safetensors", "open_clip:ViT-B-32:x"):
        scorers.check_scorer(name)
    for name in ("scorer", "inception", f"inception:{tmp_path}/weights.safetensors"):
        scorers.check_features(name)


def test_the_scorer_is_its_own_extractor() -> None:
    scorer = scorers.load_scorer("scenes", CPU)
    assert scorers.load_extractor("scorer", scorer, CPU) is scorer
    with pytest.raises(HarnessError, match="--features scorer needs a scorer; give --scorer too"):
        scorers.load_extractor("scorer", None, CPU)
