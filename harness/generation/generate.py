"""Make pictures from captions with the target's own pipeline; a picture never depends on the batch it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from harness.clock import Clock
from harness.errors import HarnessError
from harness.generation.call import Step, call, generators, latents
from harness.generation.degenerate import degenerate
from harness.generation.failures import out_of_memory
from harness.generation.prompts import Prompts
from harness.generation.stages import WATCHED, Stages, Watch, joined
from harness.targets.target import Target

__all__ = [
    "Kept", "Pictures", "check_steps", "generate", "generators", "latents", "out_of_memory", "quantised", "sample",
]  # fmt: skip

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Pictures:
    """The pictures of one generation."""

    images: Tensor
    """uint8 `[n, 3, h, w]` on the CPU."""
    degenerate: Tensor
    """bool `[n]`: the picture has values that are not finite, or shows nothing."""
    batch_size: int
    """The batch size of the pictures: as requested, or smaller where memory was not enough."""
    stages: Stages = field(default_factory=dict)
    """The stages of the first captions up to "picture", see `harness.generation.stages`."""


class Kept(Protocol):
    """Finished batches of an interrupted run."""

    used: bool
    """Whether a batch was reused."""

    def get(self, first: int, count: int) -> Pictures | None:
        """Return a batch that begins with caption number `first` and has up to `count` captions, or None."""

    def put(self, first: int, made: Pictures) -> None:
        """Keep a batch that begins with caption number `first`."""


@torch.no_grad()
def sample(target: Target, captions: Sequence[str], steps: int, step_done: Step | None = None) -> Tensor:
    """Encode captions and run the sampling loop with guidance. Nothing is decoded.

    Gradients are off. Inference mode is off too, because its tensors do not record changes in place, which calibration
    must notice.

    Args:
        target: The pipeline.
        captions: One batch.
        steps: Denoising steps. Where the family needs more, its smallest number is run.
        step_done: Called with the number of every finished step, from 0.

    Returns:
        The latents after the last step, on the target's device, as the pipeline gives them.
    """
    return call(target, captions, max(steps, target.family.fewest_steps), "latent", step_done=step_done)


def quantised(images: Tensor) -> Tensor:
    """Round pictures to 8 bits, as a PNG holds them: float `[n, 3, h, w]` in [0, 1] → uint8. NaN becomes 0."""
    return (images.float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)


def check_steps(target: Target) -> None:
    """Check the number of denoising steps of a target's protocol.

    Raises:
        HarnessError: The family cannot run so few steps, or the scheduler was trained with fewer.
    """
    steps, fewest = target.protocol.num_inference_steps, target.family.fewest_steps
    if steps < fewest:
        raise HarnessError(f"--steps {steps} is too few for {target.family.name}; use {fewest} or more")
    scheduler = getattr(target.pipeline, "scheduler", None)
    most = getattr(scheduler, "config", {}).get("num_train_timesteps")
    if isinstance(most, int) and steps > most:
        raise HarnessError(
            f"--steps {steps} is more than the {most} steps that the {type(scheduler).__name__} of {target.name} was "
            f"trained with; use {most} or fewer"
        )


@torch.inference_mode()
def generate(
    target: Target,
    captions: Sequence[str],
    batch_size: int,
    progress: Progress,
    kept: Kept | None = None,
    prompts: Prompts | None = None,
    before_step: Callable[[int], None] | None = None,
) -> Pictures:
    """Generate one picture per caption with the target's protocol.

    Args:
        target: The pipeline, dense or pruned.
        captions: One or more.
        batch_size: Pictures at once. A batch that does not fit into memory is halved.
        progress: Called with a short line after every denoising step.
        kept: Finished batches. Each batch is looked up here first, and added when it is done. None: all are made.
        prompts: Captions that the dense text encoders have encoded, for cases that leave them dense; None: encode them.
        before_step: Called with the number of every coming denoising step of a batch, from 0.

    Returns:
        The pictures in the order of the captions.

    Raises:
        HarnessError: A single picture does not fit into memory, the number of steps is refused (see `check_steps`), or
            the pipeline fails.
    """
    check_steps(target)
    steps, total = target.protocol.num_inference_steps, len(captions)
    images, flags = torch.empty(0), torch.zeros(total, dtype=torch.bool)
    clock = Clock(total * steps)
    watched: list[Stages] = []
    first = 0
    while first < total:
        # A kept batch may have any size: the interrupted run may have had more memory, or less.
        made = kept.get(first, total - first) if kept else None
        if made is None:
            last = min(first + batch_size, total)
            clock.begin(first * steps)
            watch = Watch(max(0, min(last, WATCHED) - first))
            report = _reporter(progress, clock, first, last, total, steps, watch, before_step)
            made = _batch(target, captions[first:last], prompts, report, watch)
            if made is None:
                if last - first == 1:
                    raise HarnessError(
                        f"{target.device} has too little memory for a single picture; choose another "
                        "device, or --dtype float16"
                    )
                batch_size = (last - first) // 2
                progress(f"out of memory: continuing with batches of {batch_size}")
                if target.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            if kept:
                kept.put(first, made)
        if first == 0:
            # Reserve room for all pictures now: joining the batches at the end would need twice as much.
            images = torch.empty((total, *made.images.shape[1:]), dtype=torch.uint8)
        part = slice(first, first + len(made.images))
        images[part], flags[part] = made.images, made.degenerate
        watched.append(made.stages)
        first = part.stop
        del made
    return Pictures(images, flags, batch_size, joined(watched))


def _reporter(
    progress: Progress,
    clock: Clock,
    first: int,
    last: int,
    total: int,
    steps: int,
    watch: Watch,
    before_step: Callable[[int], None] | None,
) -> Step:
    """Return a function that reports the steps of one batch, and announces the next one.

    Args:
        progress: Called with a short line after every step.
        clock: Estimates the time left.
        first: Number of the batch's first caption.
        last: Number of the caption after the batch.
        total: How many captions there are in all.
        steps: Denoising steps.
        watch: Is shown the latents after every step.
        before_step: Called now for the first step, and then after every step but the last.
    """
    if before_step is not None:
        before_step(0)

    def step_done(step: int, latents: Tensor) -> None:
        watch.see(f"latent {step + 1}", latents)
        if before_step is not None and step + 1 < steps:
            before_step(step + 1)
        done = first * steps + (last - first) * (step + 1)
        progress(f"{last}/{total} pictures, step {step + 1}/{steps}{clock.left(done)}")

    return step_done


def _batch(
    target: Target, captions: Sequence[str], prompts: Prompts | None, step_done: Step, watch: Watch
) -> Pictures | None:
    """Make the pictures of one batch. Return None where memory was not enough.

    A raised error would keep the batch's tensors alive, and half the batch would not fit either.
    """
    try:
        made = call(target, captions, target.protocol.num_inference_steps, "pt", prompts, step_done, watch).cpu()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return None
    images = quantised(made)
    watch.see("picture", images)
    return Pictures(images, degenerate(made, images), len(captions), watch.stages)
