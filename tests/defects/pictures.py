"""Wrong lines in making and judging pictures: nothing without a picture can see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.execution import pictures
from harness.generation import call, generate
from harness.metrics import clip, frechet
from harness.targets.target import Target

Patch = pytest.MonkeyPatch


def everywhere(patch: Patch, made: Callable[..., generate.Pictures]) -> None:
    """Have all pictures made by the wrong line, the dense ones too: the line is in the code, not in the case."""
    patch.setattr(pictures, "generate", made)


def captions_shifted_by_one(patch: Patch) -> None:
    right = clip.clip_scores
    patch.setattr(clip, "clip_scores", lambda seen, said: right(seen, said.roll(-1, 0)))


def features_truncated(patch: Patch) -> None:
    right = frechet.resampled
    patch.setattr(
        frechet,
        "resampled",
        lambda features, *rest: right(torch.cat([features[:, :64], features[:, 64:] * 0], 1), *rest),
    )


def guidance_left_out(patch: Patch) -> None:
    right = generate.generate

    def unguided(target: Target, *rest: Any) -> generate.Pictures:
        return right(replace(target, protocol=replace(target.protocol, guidance_scale=1.0)), *rest)

    everywhere(patch, unguided)


def guidance_five_percent_off(patch: Patch) -> None:
    right = generate.generate

    def off(target: Target, *rest: Any) -> generate.Pictures:
        scale = target.protocol.guidance_scale * 1.05
        return right(replace(target, protocol=replace(target.protocol, guidance_scale=scale)), *rest)

    everywhere(patch, off)


def scheduler_one_step_short(patch: Patch) -> None:
    right = generate.generate

    def short(target: Target, *rest: Any) -> generate.Pictures:
        steps = target.protocol.num_inference_steps - 1
        return right(replace(target, protocol=replace(target.protocol, num_inference_steps=steps)), *rest)

    everywhere(patch, short)


def one_generator_for_all(patch: Patch) -> None:
    right = call.latents
    patch.setattr(
        call, "latents", lambda target, captions: right(target, captions)[:1].expand(len(captions), -1, -1, -1)
    )


def generator_used_on(patch: Patch) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(target: Target, captions: list[str]) -> Tensor:
        unet = target.pipeline.unet.config
        shape = (len(captions), unet.in_channels, unet.sample_size, unet.sample_size)
        return torch.randn(shape, generator=generator)

    patch.setattr(call, "latents", drawn)


def pictures_darkened(patch: Patch) -> None:
    right = generate.quantised
    patch.setattr(generate, "quantised", lambda images: right(images * 127 / 255))


class _WithGradients:
    """A diffusers pipeline without the no_grad around its call."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __call__(self, **options: Any) -> Any:
        return type(self._pipeline).__call__.__wrapped__(self._pipeline, **options)


def gradients_kept(patch: Patch) -> None:
    right = generate.generate.__wrapped__  # type: ignore[attr-defined]

    def tracked(target: Target, *rest: Any) -> generate.Pictures:
        pictures: generate.Pictures = right(replace(target, pipeline=_WithGradients(target.pipeline)), *rest)
        return pictures

    everywhere(patch, tracked)
