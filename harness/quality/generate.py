"""Make pictures from captions with the target's own pipeline; a picture never depends on the batch it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness import digests
from harness.quality.degenerate import degenerate
from harness.targets.base import Target

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Pictures:
    """What one generation gave. images: uint8 `[n, 3, h, w]` on the CPU. degenerate: bool `[n]`."""

    images: Tensor
    degenerate: Tensor


class Kept(Protocol):
    """Batches that an earlier run, which was killed, has left. used: whether any of them was."""

    used: bool

    def get(self, first: int, count: int) -> Pictures | None:
        """Return the pictures of so many captions from that one on, or None."""

    def put(self, first: int, made: Pictures) -> None:
        """Keep a batch."""


def latents(target: Target, captions: Sequence[str]) -> Tensor:
    """Return one start per caption, float32 `[n, c, h, w]` on the CPU.

    Every caption has a generator of its own, seeded from the protocol's seed and the caption's text, so that a
    caption's picture is the same in any subset and any order.
    """
    config = target.denoiser.config
    shape = (config.in_channels, config.sample_size, config.sample_size)
    rows = []
    for caption in captions:
        seed = int(digests.of_value([target.protocol.latent_seed, caption])[:15], 16)
        rows.append(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(rows)


def quantised(images: Tensor) -> Tensor:
    """Round pictures in [0, 1] to 8 bits as a PNG holds them: float `[n, 3, h, w]` → uint8, NaN becomes 0."""
    return (images.float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)


@torch.inference_mode()
def generate(
    target: Target, captions: Sequence[str], batch_size: int, progress: Progress, kept: Kept | None = None
) -> Pictures:
    """Generate one picture per caption with the target's protocol.

    progress is told after every denoising step. kept: where every batch is looked up, and kept when it is done.
    """
    protocol = target.protocol
    starts = latents(target, captions)
    done: list[Pictures] = []
    batches = range(0, len(captions), batch_size)
    for first in batches:
        part = slice(first, first + batch_size)
        found = kept.get(first, len(captions[part])) if kept else None
        if found is not None:
            done.append(found)
            continue

        def told(
            pipeline: object, step: int, time: object, state: dict[str, Tensor], first: int = first
        ) -> dict[str, Tensor]:
            progress(f"{min(first + batch_size, len(captions))}/{len(captions)} pictures, "
                     f"step {step + 1}/{protocol.num_inference_steps}")  # fmt: skip
            return state

        made = target.pipeline(
            prompt=list(captions[part]),
            latents=starts[part].to(target.device, target.denoiser.dtype),
            num_inference_steps=protocol.num_inference_steps,
            guidance_scale=protocol.guidance_scale,
            output_type="pt",
            callback_on_step_end=told,
        ).images.cpu()
        whole = quantised(made)
        done.append(Pictures(whole, degenerate(made, whole)))
        if kept:
            kept.put(first, done[-1])
    return Pictures(torch.cat([part.images for part in done]), torch.cat([part.degenerate for part in done]))
