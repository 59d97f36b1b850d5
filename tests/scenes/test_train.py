"""Training from scratch: every stage runs, leaves a loadable pipeline, and takes up from its checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from harness.cli import main
from harness.errors import HarnessError
from harness.scenes import diffusion, stages, train
from harness.scenes.judges import Reader
from harness.scenes.stage import Stage
from harness.scenes.weights import DIGESTS, WEIGHTS, check
from harness.targets.resolve import load, resolve

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
    monkeypatch.setattr(diffusion.UNet, "POOL_BATCHES", 1)


def test_all_stages_make_a_pipeline(quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in stages.STAGES:
        train.train(name, 5, CPU, tmp_path, "small", max_steps=2)
    target = load(resolve("scenes", weights=tmp_path), CPU)
    assert (
        target.pipeline("a ring", height=64, width=64, num_inference_steps=1, output_type="pt").images.shape[-1] == 64
    )
    assert {p.name for p in (tmp_path / "judges").iterdir()} == {"reader.safetensors", "clip.safetensors"}
    assert not list(tmp_path.rglob("*.partial"))
    # Every stage signs what it wrote, so that these checks can fail later.
    assert set(check(tmp_path, ("pipeline", "judges"))) == {"pipeline", "judges"}
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
    assert "the same command resumes from the last checkpoint" in capsys.readouterr().err
    monkeypatch.setattr(stages.Autoencoder, "loss", right)
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=4)
    assert "resumed at step 2" in capsys.readouterr().out


def test_trains_on_from_finished_weights(quick: None, tmp_path: Path) -> None:
    train.train("unet", 5, CPU, tmp_path, "small", start=WEIGHTS, max_steps=1)
    taken, shipped = (load(resolve("scenes", weights=f), CPU).components["unet"] for f in (tmp_path, WEIGHTS))
    moved = max(
        float((a - b).detach().abs().max()) for a, b in zip(taken.parameters(), shipped.parameters(), strict=True)
    )
    assert 0 < moved < 0.01
    with pytest.raises(HarnessError, match="holds no pipeline/unet"):
        train.train("unet", 5, CPU, tmp_path / "other", "small", start=tmp_path / "nowhere")


def test_a_damaged_checkpoint_or_another_preset_is_named(quick: None, tmp_path: Path) -> None:
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=1)
    train.train("text_encoder", 5, CPU, tmp_path, "small", max_steps=1)
    with pytest.raises(HarnessError, match=r"is damaged, or is of another preset than --preset large"):
        train.train("text_encoder", 5, CPU, tmp_path, "large", max_steps=2)
    (tmp_path / "checkpoints" / "autoencoder.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(HarnessError, match="move the file away to train autoencoder from scratch"):
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
    with pytest.raises(HarnessError, match="give a positive number"):
        train.train("unet", float("nan"), CPU, tmp_path, "small")
    with pytest.raises(HarnessError, match="train it first with --stage "):
        train.train("unet", 1, CPU, tmp_path, "small")
    (tmp_path / "file").touch()
    assert main(["train-scenes", "--stage", "reader", "--minutes", "1", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"error: --out {tmp_path / 'file'} cannot be written to")


def test_a_resumed_training_keeps_its_tokenizer(quick: None, tmp_path: Path) -> None:
    train.train("text_encoder", 5, CPU, tmp_path, "small", max_steps=1)
    place = tmp_path / "pipeline" / "tokenizer"
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    train.train("text_encoder", 5, CPU, tmp_path, "small", max_steps=2)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    (place / "tokenizer.json").write_text("{")
    with pytest.raises(HarnessError, match="tokenizer holds a damaged tokenizer"):
        train.train("text_encoder", 5, CPU, tmp_path, "small", max_steps=3)


def damage(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_no_stage_signs_what_another_stage_wrote_unless_it_is_unchanged(quick: None, tmp_path: Path) -> None:
    for name in ("autoencoder", "text_encoder", "reader"):
        train.train(name, 5, CPU, tmp_path, "small", max_steps=1)
    signed = (tmp_path / DIGESTS).read_bytes()
    vae = tmp_path / "pipeline" / "vae" / "diffusion_pytorch_model.safetensors"
    damage(vae)
    for name in ("text_encoder", "unet", "judge_clip"):
        with pytest.raises(HarnessError, match=rf"{vae.name} has changed"):
            train.train(name, 5, CPU, tmp_path, "small", max_steps=2)
    assert (tmp_path / DIGESTS).read_bytes() == signed
    # The stage that writes the file repairs it.
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=2)
    assert check(tmp_path, ["pipeline"])


def test_nothing_is_trained_on_from_damaged_weights(quick: None, tmp_path: Path) -> None:
    start = Path(shutil.copytree(WEIGHTS, tmp_path / "start"))
    damage(start / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(HarnessError, match="has changed: its SHA-256"):
        train.train("unet", 5, CPU, tmp_path / "out", "small", start=start, max_steps=1)
    assert not (tmp_path / "out" / "pipeline").exists()


def test_a_full_disk_at_the_end_is_one_message_and_the_training_is_kept(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: stages.Autoencoder, model: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(stages.Autoencoder, "finish", full)
    with pytest.raises(HarnessError, match=r"cannot be written .*No space left.* is whole\. Free some space"):
        train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=1)
    monkeypatch.undo()
    train.train("autoencoder", 5, CPU, tmp_path, "small", max_steps=1)
    assert "resumed at step 1" in capsys.readouterr().out and check(tmp_path, ["pipeline"])
