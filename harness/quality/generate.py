"""Make pictures from captions with the target's own pipeline; a picture never depends on the batch it is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness import digests
from harness.clock import Clock
from harness.errors import HarnessError
from harness.quality.degenerate import degenerate
from harness.quality.prompts import Prompts
from harness.targets.base import Target

Progress = Callable[[str], None]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Pictures:
    """What one generation gave.

    images: uint8 `[n, 3, h, w]` on the CPU. degenerate: bool `[n]`. batch_size: the largest that fitted into memory.
    """

    images: Tensor
    degenerate: Tensor
    batch_size: int


class Kept(Protocol):
    """Batches that an earlier run, which was killed, has left. used: whether any of them was."""

    used: bool

    def get(self, first: int, count: int) -> Pictures | None:
        """Return the pictures of up to so many captions from that one on, or None."""

    def put(self, first: int, made: Pictures) -> None:
        """Keep a batch."""


def latents(target: Target, captions: Sequence[str]) -> Tensor:
    """Return one start per caption, float32 `[n, c, h, w]` on the CPU.

    Every caption has a generator of its own, seeded from the protocol's seed and the caption's text, so that a
    caption's picture is the same in any subset and any order.
    """
    config = target.denoiser.config
    shape = (config.in_channels, config.sample_size, config.sample_size)
    return torch.stack([torch.randn(shape, generator=_generator(target, caption)) for caption in captions])


def generators(target: Target, captions: Sequence[str]) -> list[torch.Generator]:
    """Return what schedulers draw from that add noise at every step, one per caption, on the CPU."""
    return [_generator(target, "noise", caption) for caption in captions]


def _generator(target: Target, *words: str) -> torch.Generator:
    seed = int(digests.of_value([target.protocol.latent_seed, *words])[:15], 16)
    return torch.Generator().manual_seed(seed)


@torch.inference_mode()
def sample(target: Target, captions: Sequence[str], steps: int) -> Tensor:
    """Encode captions and run so many steps of the sampling loop with guidance; return latents, nothing is decoded."""
    found: Tensor = target.pipeline(
        prompt=list(captions),
        latents=latents(target, captions).to(target.device, target.dtype),
        generator=generators(target, captions),
        num_inference_steps=steps,
        guidance_scale=target.protocol.guidance_scale,
        output_type="latent",
    ).images
    return found


def quantised(images: Tensor) -> Tensor:
    """Round pictures in [0, 1] to 8 bits as a PNG holds them: float `[n, 3, h, w]` → uint8, NaN becomes 0."""
    return (images.float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)


@torch.inference_mode()
def generate(
    target: Target,
    captions: Sequence[str],
    batch_size: int,
    progress: Progress,
    kept: Kept | None = None,
    prompts: Prompts | None = None,
) -> Pictures:
    """Generate one picture per caption with the target's protocol.

    progress is told after every denoising step. kept: where every batch is looked up, and kept when it is done.
    prompts: what captions were encoded to, where the text encoders are dense; None: encode them here. A batch that does
    not fit into memory is halved. Raises HarnessError where a single picture does not fit.
    """
    steps, total = target.protocol.num_inference_steps, len(captions)
    starts = latents(target, captions)
    images, nothing = torch.empty(0), torch.zeros(total, dtype=torch.bool)
    clock = Clock(total * steps)
    first = 0
    while first < total:
        # Of whatever size: a run that was killed may have had room for other batches.
        found = kept.get(first, total - first) if kept else None
        size = min(batch_size, total - first) if found is None else len(found.images)
        texts, part = list(captions[first : first + size]), slice(first, first + size)
        if found is None:
            clock.begin(first * steps)

            def told(pipeline: object, step: int, time: object, state: State, part: slice = part) -> State:
                done = part.start * steps + (part.stop - part.start) * (step + 1)
                progress(f"{part.stop}/{total} pictures, step {step + 1}/{steps}{clock.left(done)}")
                return state

            made = _batch(target, texts, starts[part], prompts, told)
            if made is None:
                if batch_size == 1:
                    raise HarnessError(f"there is not enough memory on {target.device} for one picture at a time")
                batch_size //= 2
                progress(f"out of memory: going on with batches of {batch_size}")
                if target.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            whole = quantised(made)
            found = Pictures(whole, degenerate(made, whole), len(texts))
            if kept:
                kept.put(first, found)
        if first == 0:
            # All at once: putting ten thousand pictures together afterwards would need room for twice as many.
            images = torch.empty((total, *found.images.shape[1:]), dtype=torch.uint8)
        images[part], nothing[part] = found.images, found.degenerate
        first = part.stop
        del found
    return Pictures(images, nothing, batch_size)


def _batch(
    target: Target, texts: list[str], starts: Tensor, prompts: Prompts | None, told: Callable[..., State]
) -> Tensor | None:
    """Return the pictures of a batch as the pipeline gives them, on the CPU, or None where memory was not enough."""
    decoder = getattr(target.pipeline, "vae", None)
    dtype = decoder.dtype if decoder is not None else None
    try:
        made: Tensor = target.pipeline(
            **(prompts.arguments(texts) if prompts else {"prompt": texts}),
            latents=starts.to(target.device, target.dtype),
            generator=generators(target, texts),
            num_inference_steps=target.protocol.num_inference_steps,
            guidance_scale=target.protocol.guidance_scale,
            output_type="pt",
            callback_on_step_end=told,
        ).images.cpu()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if decoder is not None:
            # Stable Diffusion XL decodes in float32, and leaves the decoder so when it is interrupted.
            decoder.to(dtype)
        return None
    return made


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device, or the CPU, had no memory left."""
    said = (
        "DefaultCPUAllocator",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        # What cuDNN says where no algorithm's workspace fits.
        "unable to find an engine to execute",
    )
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)
