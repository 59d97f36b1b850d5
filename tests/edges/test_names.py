"""Names of targets and numbers of steps that cannot be, and a list of captions that is damaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError, reason
from harness.generation.generate import check_steps
from harness.metrics.reference import open_pictures
from harness.scenes import captions
from harness.scenes.weights import PIPELINE, sign
from harness.targets.resolve import load, resolve
from harness.targets.target import wrap
from tests.pipelines import seeded


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / "saved"
    seeded("sd2").save_pretrained(folder, safe_serialization=True)
    return folder


def test_folders_of_other_scripts_have_other_names(tmp_path: Path, saved: Path) -> None:
    folders = "模型", "мод ель", "की", "कि", "e\u0301"
    names = []
    for folder in folders:
        (tmp_path / folder).symlink_to(saved)
        assert resolve(str(tmp_path / folder)).name == "saved"
        (tmp_path / folder).unlink()
        shutil.copytree(saved, tmp_path / folder)
        names.append(resolve(str(tmp_path / folder)).name)
    assert names == ["模型", "мод_ель", "की", "कि", "é"]


@pytest.mark.parametrize("name", ["🙂", "---", "a" * 121])
def test_a_name_that_says_nothing_or_too_much_is_refused(tmp_path: Path, saved: Path, name: str) -> None:
    shutil.copytree(saved, tmp_path / name)
    with pytest.raises(HarnessError, match="in ids; use a folder whose name has letters or digits, and 120 bytes"):
        resolve(str(tmp_path / name))


def test_steps_are_from_one_to_what_the_scheduler_was_trained_with() -> None:
    target = wrap("t", seeded("sd2"), "digest", torch.device("cpu"))
    for steps, said in ((0, "--steps 0 is too few"), (1001, "--steps 1001 is more than the 1000 steps that the DDIM")):
        with pytest.raises(HarnessError, match=said):
            check_steps(replace(target, protocol=replace(target.protocol, num_inference_steps=steps)))
    check_steps(replace(target, protocol=replace(target.protocol, num_inference_steps=1000)))


@pytest.mark.parametrize("damage", ["cut", "shape", "relation", "deep"])
def test_damaged_held_out_captions_are_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    text = captions.HELD_OUT_FILE.read_text()
    content = json.loads(text)
    first = content["evaluation"][0]
    first["things"][0][2 if damage == "shape" else 1] = "square" if damage == "relation" else "cirle"
    path = tmp_path / "held_out.json"
    path.write_text({"cut": text[:-20], "deep": "[" * 100_000}.get(damage, json.dumps(content)))
    monkeypatch.setattr(captions, "HELD_OUT_FILE", path)
    with pytest.raises(HarnessError, match=r"held_out\.json cannot be read .*git checkout"):
        captions.held_out()


def test_a_picture_that_is_too_large_is_named(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(HarnessError, match=r"huge\.png is no picture that can be read"):
        open_pictures([tmp_path / "huge.png"])


def test_weights_that_differ_from_their_own_digests_are_named(tmp_path: Path) -> None:
    shutil.copytree(PIPELINE, tmp_path / "pipeline")
    spec = resolve("scenes", weights=tmp_path)
    with pytest.raises(HarnessError, match=r"digests\.json cannot be read"):
        load(spec, torch.device("cpu"))
    sign(tmp_path, "pipeline")
    assert load(spec, torch.device("cpu")).name == "scenes"
    config = tmp_path / "pipeline" / "unet" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(HarnessError, match=r"unet/config\.json has changed"):
        load(spec, torch.device("cpu"))


def test_an_error_of_torch_names_the_tensors() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(2, 2)})
    assert 'Missing key(s) in state_dict: "bias"' in reason(error.value) and "\n" not in reason(error.value)
    assert reason(AssertionError()) == "AssertionError"
