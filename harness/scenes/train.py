"""Train one stage of `scenes` for a number of minutes: checkpoints, resume after a kill, progress and time left."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from harness.errors import HarnessError, unknown
from harness.scenes.models import PRESETS
from harness.scenes.stage import Stage
from harness.scenes.stages import build

CHECKPOINT_SECONDS = 60
PAUSE_SECONDS = 60  # no step takes longer; what does is a process that was stopped, or a machine that slept


def _rate(stage: Stage, step: int, done: float) -> float:
    """Return the learning rate: 200 steps of warm-up, then a cosine in the share of the time that is done."""
    return stage.rate * min(1.0, (step + 1) / 200) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _save(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise HarnessError(f"{path} cannot be written ({error}); the last checkpoint is unchanged") from error
    finally:
        partial.unlink(missing_ok=True)


def _take_over(name: str, start: Path, folder: Path) -> None:
    if name != "unet":
        raise HarnessError(f"--start works for the unet stage, not for {name}")
    if not (start / "pipeline" / "unet" / "config.json").exists():
        raise HarnessError(f"{start} holds no pipeline/unet; give a weights folder such as harness/scenes/weights")
    if start.resolve() != folder.resolve():
        shutil.copytree(start / "pipeline", folder / "pipeline", dirs_exist_ok=True)


def train(
    name: str,
    minutes: float,
    where: torch.device,
    folder: Path,
    preset: str,
    start: Path | None = None,
    max_steps: int | None = None,
) -> Path:
    """Train stage `name` until `minutes` of training have been spent in all, and write its weights under `folder`.

    Every minute the state goes to `folder/checkpoints/NAME.pt`; a killed run takes up from there. `start`, for
    the U-Net: a weights folder whose pipeline is taken over and trained on, where there is no checkpoint yet.
    `max_steps` ends the training after that many steps, if the time is not up before. Returns the folder.
    Raises HarnessError for an unknown preset, a time that is not positive, missing earlier stages and a folder that
    cannot be written.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if not 0 < minutes < math.inf:
        raise HarnessError(f"--minutes is {minutes}, wanted a positive number")
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"nothing can be written to {folder} ({error.strerror}); choose another --out") from error
    checkpoint = folder / "checkpoints" / f"{name}.pt"
    fresh = not checkpoint.exists()
    if start is not None and fresh:
        _take_over(name, start, folder)
    for needed in ("vae", "text_encoder") if name == "unet" else ():
        if not (folder / "pipeline" / needed / "config.json").exists():
            raise HarnessError(f"the unet stage needs {folder / 'pipeline' / needed}; train that stage first")
    stage = build(name, preset, folder, where)
    model = stage.model
    if start is not None and fresh:
        unet = folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
        try:
            model["unet"].load_state_dict(load_file(unet))
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise HarnessError(f"{unet} is not a U-Net of preset {preset} ({reason}); leave --start out") from error
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
            state = torch.load(checkpoint, map_location=where, weights_only=True)
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            step, spent = int(state["step"]), float(state["seconds"])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise HarnessError(
                f"{checkpoint} cannot be resumed from with --preset {preset} ({reason}); move it away to train {name} "
                "from nothing, or choose another --out"
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
            raise HarnessError(f"{name}: the loss is {loss.item()} at step {step}; the last checkpoint is sound")
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
    stage.finish(average.eval())
    print(f"{name}: {step} steps in {spent / 60:.1f} minutes; wrote {folder}", flush=True)
    return folder
