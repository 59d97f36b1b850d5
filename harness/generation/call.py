"""Calls pipelines. No other module does; the target's family says how."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from harness import digests
from harness.generation.failures import explained
from harness.generation.prompts import Prompts
from harness.generation.stages import Watch
from harness.targets.target import Target

# Called with the number of every finished denoising step, from 0, and the latents after it, `[n, ...]`.
Step = Callable[[int, Tensor], None]
# The start of the warning that some pipelines give in place of an out of memory error.
_HIDDEN = r"(?s).*Try to use VAE tiling"


def latents(target: Target, captions: Sequence[str]) -> Tensor:
    """Return the start noise of captions.

    Every caption has a generator of its own, seeded from the protocol's seed and the caption's text: a caption's
    picture is the same in any subset and any order.

    Returns:
        float32 `[n, *shape]` on the CPU, shape as `Family.latent_shape` says.
    """
    shape = target.family.latent_shape(target.denoiser.config)
    return torch.stack([torch.randn(shape, generator=_generator(target, caption)) for caption in captions])


def generators(target: Target, captions: Sequence[str]) -> list[torch.Generator]:
    """Return one generator per caption, on the CPU, for schedulers that add noise at every step."""
    return [_generator(target, "noise", caption) for caption in captions]


def _generator(target: Target, *words: str) -> torch.Generator:
    seed = int(digests.of_value([target.protocol.latent_seed, *words])[:15], 16)
    return torch.Generator().manual_seed(seed)


def call(
    target: Target,
    captions: Sequence[str],
    steps: int,
    output_type: str,
    prompts: Prompts | None = None,
    step_done: Step | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Call the target's pipeline on one batch of captions, with the protocol's guidance and start noise.

    Args:
        target: The pipeline.
        captions: The batch.
        steps: Denoising steps.
        output_type: "latent" decodes nothing, "pt" gives pictures.
        prompts: Captions that the dense text encoders have encoded; None: the pipeline encodes them.
        step_done: Called after every denoising step.
        watch: Is shown the encoded captions, where the family keeps them; None: nobody watches.

    Returns:
        Latents, or pictures float `[n, 3, h, w]` in [0, 1], on the target's device.

    Raises:
        HarnessError: The pipeline fails, as one whose parts do not fit each other. An out of memory error stays as it
            is: see `out_of_memory`.
    """
    family = target.family
    arguments: dict[str, Any] = prompts.arguments(captions) if prompts else {"prompt": list(captions)}
    if watch is not None:
        encoded = [value for value in arguments.values() if isinstance(value, Tensor)]
        if encoded:
            watch.see("text", encoded)
    if step_done is not None:
        arguments[family.callback] = _callback(family.callback, step_done)
    with explained(target), _decoder_kept(target), _loud() if family.hides_out_of_memory else nullcontext():
        made: Tensor = target.pipeline(
            **arguments,
            **family.arguments,
            latents=latents(target, captions).to(target.device, target.dtype),
            generator=generators(target, captions),
            num_inference_steps=steps,
            guidance_scale=target.protocol.guidance_scale,
            output_type=output_type,
        ).images
    return made


def _callback(kind: str, step_done: Step) -> Callable[..., Any]:
    def on_step_end(pipeline: object, step: int, time: object, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        step_done(step, tensors["latents"])
        return tensors

    def callback(step: int, time: object, latents: Tensor) -> None:
        step_done(step, latents)

    return on_step_end if kind == "callback_on_step_end" else callback


@contextmanager
def _decoder_kept(target: Target) -> Iterator[None]:
    """Restore the decoder's dtype after the body.

    Stable Diffusion XL switches it to float32, and an interruption would leave it there.
    """
    decoder = getattr(target.pipeline, "vae", None)
    dtype = decoder.dtype if decoder is not None else None
    try:
        yield
    finally:
        if decoder is not None and decoder.dtype != dtype:
            decoder.to(dtype)


@contextmanager
def _loud() -> Iterator[None]:
    """Raise the out of memory error that a pipeline turns into a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _HIDDEN, UserWarning)
        try:
            yield
        except UserWarning as warning:
            if isinstance(warning.__context__, torch.OutOfMemoryError):
                raise warning.__context__ from None
            raise
