"""Training from nothing: every stage runs, leaves a loadable pipeline, and takes up from its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.__main__ import main
from harness.errors import HarnessError
from harness.scenes import stages, train
from harness.scenes.judges import Reader
from harness.scenes.stage import Stage
from harness.scenes.weights import WEIGHTS
from harness.targets.scenes import from_folder

CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures a step instead of hundreds."""
    right = stages.build

    def small(*arguments: object) -> Stage:
        stage = right(*arguments)  # type: ignore[arg-type]
        stage.batch = 4
        return stage

    monkeypatch.setattr(train, "build", small)
    monkeypatch.setattr(stages.UNet, "POOL_BATCHES", 1)


def test_all_stages_make_a_pipeline(quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in stages.STAGES:
        train.train(name, 5, CPU, tmp_path, "small", max_steps=2)
    target = from_folder(tmp_path / "pipeline", CPU, "untrained")
    assert (
        target.pipeline("a ring", height=64, width=64, num_inference_steps=1, output_type="pt").images.shape[-1] == 64
    )
    assert {p.name for p in (tmp_path / "judges").iterdir()} == {"reader.safetensors", "clip.safetensors"}
    assert not list(tmp_path.rglob("*.partial"))
    assert "2 steps" in capsys.readouterr().out


def test_resumes_after_a_kill(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0)
    right = stages.Autoencoder.loss

    def killed(self: stages.Autoencoder, step: int) -> tuple[torch.Tensor, str]:
        if step == 2:
            raise KeyboardInterrupt
        return right(self, step)

    monkeypatch.setattr(stages.Autoencoder, "loss", killed)
    arguments = ["train-scenes", "--stage", "autoencoder", "--minutes", "5", "--device", "cpu", "--out", str(tmp_path)]
    assert main(arguments) == 130
    assert "resumes from its last checkpoint" in capsys.readouterr().err
    monkeypatch.setattr(stages.Autoencoder, "loss", right)
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=4)
    assert "resumed at step 2" in capsys.readouterr().out


def test_trains_on_from_finished_weights(quick: None, tmp_path: Path) -> None:
    train.train("unet", 5, CPU, tmp_path, "small", start=WEIGHTS, max_steps=1)
    taken, shipped = (from_folder(f / "pipeline", CPU, "any").components["unet"] for f in (tmp_path, WEIGHTS))
    moved = max(float((a - b).abs().max()) for a, b in zip(taken.parameters(), shipped.parameters(), strict=True))
    assert 0 < moved < 0.01
    with pytest.raises(HarnessError, match="holds no pipeline/unet"):
        train.train("unet", 5, CPU, tmp_path / "other", "small", start=tmp_path / "nowhere")


def test_a_damaged_checkpoint_or_another_preset_is_said(quick: None, tmp_path: Path) -> None:
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=1)
    train.train("text_encoder", 5, CPU, tmp_path, "small", max_steps=1)
    with pytest.raises(HarnessError, match=r"cannot be resumed from with --preset large"):
        train.train("text_encoder", 5, CPU, tmp_path, "large", max_steps=2)
    (tmp_path / "checkpoints" / "autoencoder.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(HarnessError, match="move it away to train autoencoder from nothing"):
        train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=2)


def test_the_reader_is_saved_with_features_of_unit_variance(quick: None, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    train.train("reader", 5, CPU, tmp_path, "small", max_steps=2)
    reader = Reader()
    reader.load_state_dict(load_file(tmp_path / "judges" / "reader.safetensors"))
    stage = stages.build("reader", "small", tmp_path, CPU)
    with torch.no_grad():
        features, _ = reader(stage.data(7)[0])
    assert 0.5 < features.var(0).mean() < 2.0


def test_wrong_calls_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HarnessError, match="did you mean small"):
        train.train("unet", 1, CPU, tmp_path, "smal")
    with pytest.raises(HarnessError, match="wanted a positive number"):
        train.train("unet", float("nan"), CPU, tmp_path, "small")
    with pytest.raises(HarnessError, match="train that stage first"):
        train.train("unet", 1, CPU, tmp_path, "small")
    (tmp_path / "file").touch()
    assert main(["train-scenes", "--stage", "unet", "--minutes", "1", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: nothing can be written to")
