"""`python -m harness prune` from outside: what it saves loads anywhere, what is wrong is said in a line or two."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness import digests, export
from harness.__main__ import main
from harness.surgery.layers import prunable
from harness.targets import folder


def run(*arguments: str) -> int:
    return main(["prune", *arguments, "--device", "cpu"])


def test_the_saved_pipeline_is_pruned_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diffusers import DiffusionPipeline

    out = tmp_path / "pruned"
    assert run("scenes", "--method", "magnitude", "--unet", "0.35", "--text-encoder", "0.475", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "unet: 35.00% of" in said and "text_encoder: 47.50% of" in said
    pipeline = DiffusionPipeline.from_pretrained(out, dtype=torch.float32)
    record = json.loads((out / "prunegate.json").read_text())
    assert record["method"] == "magnitude" and record["layers"] == "linear"
    for component, wanted in (("unet", 0.35), ("text_encoder", 0.475)):
        module = getattr(pipeline, component)
        layers = prunable(module, "linear")
        zeros = sum(int((layer.weight == 0).sum()) for layer in layers.values())
        total = sum(layer.weight.numel() for layer in layers.values())
        facts = record["components"][component]
        assert zeros / total == pytest.approx(wanted, abs=1e-3)
        assert (facts["zeros"], facts["targeted"]) == (zeros, total) and facts["layers"].keys() == layers.keys()
        convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
        assert all(int((m.weight == 0).sum()) == 0 for m in convolutions)
    assert all(digests.of_file(out / name) == digest for name, digest in record["files"].items())
    assert [p.name for p in tmp_path.iterdir()] == ["pruned"]


def test_a_saved_folder_is_a_target_and_calibration_is_saved_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, statistics = tmp_path / "first", tmp_path / "second", tmp_path / "statistics.safetensors"
    text = ("--text-encoder", "0.5", "--layers", "all")
    assert run("scenes", "--method", "random", *text, "--out", str(first)) == 0
    how = ("--method", "sparsegpt", "--pattern", "2:4", *text)
    assert run(str(first), *how, "--save-calibration", str(statistics), "--out", str(second)) == 0
    record = json.loads((second / "prunegate.json").read_text())["components"]["text_encoder"]
    assert record["requested"] == "2:4" and record["sparsity_targeted"] >= 0.5
    assert run(str(first), *how, "--calibration", str(statistics), "--out", str(tmp_path / "third")) == 0
    again = json.loads((tmp_path / "third" / "prunegate.json").read_text())
    weights = "text_encoder/model.safetensors"
    assert again["files"][weights] == digests.of_file(second / weights)
    assert run("scenes", *how, "--calibration", str(statistics), "--out", str(tmp_path / "other")) == 2
    assert "taken from another model" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scenes", "--method", "wandaa", "--unet", "0.5"), "did you mean wanda"),
        (("scnes", "--method", "wanda", "--unet", "0.5"), "did you mean scenes"),
        (("nowhere/right/here", "--method", "wanda", "--unet", "0.5"), "is not a folder"),
        (
            ("scenes", "--revision", "x", "--method", "wanda", "--unet", "0.5"),
            "of a pipeline on the hub, and scenes is",
        ),
        (("scenes", "--method", "wanda", "--unet", "1.5"), "give a number from 0 to 1"),
        (("scenes", "--method", "wanda", "--unet", "half"), "wanted a number from 0 to 1"),
        (("scenes", "--method", "wanda", "--unet"), "wants a sparsity"),
        (("scenes", "--method", "wanda"), "nothing to prune"),
        (
            ("scenes", "--method", "wanda", "--unet", "0.4", "--pattern", "2:4"),
            "--pattern 2:4 prunes 0.5; leave one out",
        ),
        (("scenes", "--method", "wanda", "--unet", "--pattern", "4:2"), "wanted n:m with 0 < n < m"),
        (("scenes", "--method", "owl_wanda", "--unet", "--pattern", "2:4"), "leaves no choice"),
        (("scenes", "--method", "magnitude", "--unet", "0.5", "--layers", "conv"), "known: all, linear"),
        (("scenes", "--method", "magnitude", "--unet", "0.5", "--calibration", "x"), "does not exist"),
        (("scenes", "--method", "magnitude", "--unet", "0.5", "--padding", "dropped"), "leave --padding out"),
        (("scenes", "--method", "wanda", "--unet", "0.5", "--padding", "half"), "wanted one of counted, dropped"),
        (("scenes", "--method", "wanda", "--unet", "0.5", "--calibration-captions", "x"), "cannot be read"),
        (("scenes", "--method", "wanda", "--unet", "0.5", "--save-calibration", f"{__file__}/x"), "choose another"),
        (("scenes", "--method", "wanda", "--unet", "--pattern", "2:5"), "the pattern 2:5 does not divide unet."),
    ],
)
def test_wrong_requests_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run(*arguments, "--out", str(tmp_path / "out")) == 2
    found = capsys.readouterr()
    assert said in found.err and len(found.err.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_usage_and_error_fit_six_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("scenes", "--metod", "magnitude")
    assert len(capsys.readouterr().err.strip().splitlines()) <= 6


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    assert run("scenes", "--method", "magnitude", "--unet", "0.5", "--out", str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> dict[str, object]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_record", full)
    assert run("scenes", "--method", "magnitude", "--unet", "0.5", "--out", str(tmp_path / "out")) == 2
    assert "No space left on device" in capsys.readouterr().err and not list(tmp_path.iterdir())


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file grow past so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with files_up_to(2**20):
        assert run("scenes", "--method", "magnitude", "--unet", "0.5", "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said and "nothing was saved" in said and not list(tmp_path.iterdir())
    place = tmp_path / "statistics"
    how = ("--method", "wanda", "--text-encoder", "0.5", "--save-calibration", str(place))
    with files_up_to(2**12):
        assert run("scenes", *how, "--out", str(tmp_path / "out")) == 2
    assert "statistics cannot be written" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_plain_file_decides_the_dtype_beside_a_variant(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "unet").mkdir()
    for name, dtype in (("model.fp16", torch.float16), ("model", torch.float32)):
        save_file({"weight": torch.zeros(2, dtype=dtype)}, tmp_path / "unet" / f"{name}.safetensors")
    assert folder._stored_dtype(sorted(tmp_path.rglob("*.safetensors")), None) == torch.float32


@pytest.mark.parametrize(
    ("files", "said"), [({}, "has no model_index.json"), ({"model_index.json": "{}"}, "has no safetensors files")]
)
def test_folders_that_hold_no_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert run(str(tmp_path), "--method", "magnitude", "--unet", "0.5", "--out", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err


def test_a_hub_that_cannot_be_reached_is_one_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "prune", "nobody/nothing", "--revision", "abc", "--method", "magnitude"]
    command += ["--unet", "0.5", "--out", str(tmp_path / "out")]
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache")}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "Traceback" not in found.stderr
    assert "nobody/nothing cannot be fetched from the hub" in found.stderr.splitlines()[-1]
    assert "give a folder" in found.stderr and not (tmp_path / "out").exists()
