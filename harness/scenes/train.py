"""Train one stage of `scenes` for some minutes. A checkpoint every minute lets an interrupted training resume."""

from __future__ import annotations

import copy
import math
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from harness.errors import HarnessError, reason, unknown
from harness.loaded import unpickled
from harness.scenes.models import PRESETS
from harness.scenes.stage import Stage
from harness.scenes.stages import build
from harness.scenes.weights import check, sign, unchanged

CHECKPOINT_SECONDS = 60
# Stage → the files of a weights folder that the stage writes.
WRITES = {
    "autoencoder": ("pipeline/vae/",),
    "text_encoder": ("pipeline/text_encoder/", "pipeline/tokenizer/"),
    "reader": ("judges/reader.safetensors",),
    "judge_clip": ("judges/clip.safetensors",),
    "unet": ("pipeline/unet/", "pipeline/scheduler/", "pipeline/model_index.json"),
}
# No step takes longer. A longer pause means that the process was stopped or the machine slept, and does not count.
PAUSE_SECONDS = 60


def _rate(stage: Stage, step: int, done: float) -> float:
    """Return the learning rate: a warm-up of 200 steps, and a cosine over the time. done: share of the time, 0 to 1."""
    return stage.rate * min(1.0, (step + 1) / 200) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _save(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise HarnessError(
            f"{path} cannot be written ({error}); the last checkpoint is unchanged. Free some space and train again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _take_over(name: str, start: Path, folder: Path) -> None:
    if name != "unet":
        raise HarnessError(f"--start applies to the stage unet only, not to {name}; leave it out")
    if not (start / "pipeline" / "unet" / "config.json").exists():
        raise HarnessError(
            f"--start {start} holds no pipeline/unet; give a weights folder such as harness/scenes/weights"
        )
    check(start, ["pipeline"])
    if start.resolve() != folder.resolve():
        shutil.copytree(start / "pipeline", folder / "pipeline", dirs_exist_ok=True)
        sign(folder, "pipeline")


def train(
    name: str,
    minutes: float,
    where: torch.device,
    folder: Path,
    preset: str,
    start: Path | None = None,
    max_steps: int | None = None,
) -> Path:
    """Train one stage and write its weights.

    Every minute the state goes to `folder/checkpoints/NAME.pt`. The same call resumes an interrupted training there.

    Args:
        name: One of `stages.STAGES`.
        minutes: When to stop: minutes of training, in all runs together.
        where: Device.
        folder: The weights folder that the stage writes into. Its digests are recorded: see `weights.sign`.
        preset: A name of `models.PRESETS`.
        start: For the U-Net without a checkpoint: a weights folder. Its pipeline is copied and trained further.
        max_steps: Stop after this many steps, if the time is not up before.

    Returns:
        The folder.

    Raises:
        HarnessError: The preset does not exist, the time is not positive, an earlier stage is missing, a file of
            `folder` or `start` differs from its digest, the checkpoint is damaged, or the folder cannot be written.
    """
    if preset not in PRESETS:
        raise unknown("--preset", preset, PRESETS)
    if not 0 < minutes < math.inf:
        raise HarnessError(f"--minutes is {minutes}; give a positive number, such as 20")
    lacking = [part for part in ("vae", "text_encoder") if not (folder / "pipeline" / part / "config.json").exists()]
    if name == "unet" and start is None and lacking:
        earlier = {"vae": "autoencoder"}.get(lacking[0], lacking[0])
        raise HarnessError(
            f"--stage unet needs {folder / 'pipeline' / lacking[0]}; train it first with --stage {earlier}"
        )
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"--out {folder} cannot be written to ({error.strerror}); choose another folder") from error
    # This stage reads the files of earlier stages, and signs them again together with its own files.
    unchanged(folder, WRITES[name])
    checkpoint = folder / "checkpoints" / f"{name}.pt"
    fresh = not checkpoint.exists()
    if start is not None and fresh:
        _take_over(name, start, folder)
    for needed in ("vae", "text_encoder") if name == "unet" else ():
        if not (folder / "pipeline" / needed / "config.json").exists():
            raise HarnessError(f"--stage unet needs {folder / 'pipeline' / needed}; train that stage first")
    stage = build(name, preset, folder, where)
    model = stage.model
    if start is not None and fresh:
        unet = folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
        try:
            model["unet"].load_state_dict(load_file(unet))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise HarnessError(
                f"--start: {unet} is no U-Net of --preset {preset} ({reason(error)}); leave --start out, "
                "or choose its preset"
            ) from error
    if where.type == "cpu" and name != "text_encoder":
        model.to(memory_format=torch.channels_last)
    if name == "unet":
        from diffusers.models.attention_processor import AttnProcessor

        model["unet"].set_attn_processor(AttnProcessor())
    groups = stage.groups()
    shares = [share for share, _ in groups]
    optimizer = torch.optim.AdamW(
        [{"params": params} for _, params in groups], stage.rate, weight_decay=0.01, betas=(0.9, 0.99)
    )
    average = copy.deepcopy(model).eval().requires_grad_(False) if stage.ema else model
    step, spent = 0, 0.0
    if checkpoint.exists():
        try:
            state = unpickled(checkpoint, where)
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            step, spent = int(state["step"]), float(state["seconds"])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise HarnessError(
                f"{checkpoint} is damaged, or is of another preset than --preset {preset} ({reason(error)}); move the "
                f"file away to train {name} from scratch, or choose another --out"
            ) from error
        print(f"{name}: resumed at step {step}, {spent / 60:.1f} of {minutes:g} minutes done", flush=True)

    def snapshot() -> dict[str, object]:
        return {
            "model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
            "step": step, "seconds": spent,
        }  # fmt: skip

    last = saved = shown = time.monotonic()
    while spent < minutes * 60 and (max_steps is None or step < max_steps):
        rate = _rate(stage, step, spent / (minutes * 60))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = share * rate
        loss, words = stage.loss(step)
        if not math.isfinite(loss.item()):
            raise HarnessError(
                f"--stage {name}: the loss is {loss.item()} at step {step}. {checkpoint} is from before that step: "
                "train again to resume there, and report it if it happens again"
            )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if stage.ema:
            keep = min(stage.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
        now = time.monotonic()
        spent += min(now - last, PAUSE_SECONDS)
        last = now
        if now - shown > (1 if sys.stdout.isatty() else 10):
            left = max(0.0, minutes - spent / 60)
            print(f"{name}: step {step}  loss {loss.item():.4f}  {words}  {left:.1f} min left", flush=True)
            shown = now
        if now - saved > CHECKPOINT_SECONDS:
            _save(checkpoint, snapshot())
            saved = now
    _save(checkpoint, snapshot())
    unchanged(folder, WRITES[name])
    try:
        stage.finish(average.eval())
    except (OSError, SafetensorError) as error:
        raise HarnessError(
            f"{folder} cannot be written ({error}); {checkpoint} is whole. Free some space, and run the same command"
        ) from error
    sign(folder, "judges" if name in ("reader", "judge_clip") else "pipeline")
    print(f"{name}: {step} steps in {spent / 60:.1f} minutes; wrote {folder}", flush=True)
    return folder
