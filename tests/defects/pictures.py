"""Wrong lines in making and judging pictures: nothing without a picture can see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.execution import pictures
from harness.execution import run as running
from harness.execution.bench import Workbench
from harness.generation import call, degenerate, generate
from harness.metrics import clip, fid, frechet
from harness.metrics.evidence import Evidence
from harness.metrics.metric import Values
from harness.metrics.scorers.clip import ClipScorer
from harness.metrics.scorers.scenes import ScenesScorer
from harness.surgery import masks
from harness.targets.target import Target
from tests.defects.planting import Patch, wrong_line


def everywhere(patch: Patch, made: Callable[..., generate.Pictures]) -> None:
    """Have all pictures made by the wrong line, the dense ones too: the line is in the code, not in the case."""
    patch.setattr(pictures, "generate", made)


def captions_shifted_by_one(patch: Patch) -> None:
    """Every picture is scored against the caption of the next one."""
    right = clip.clip_scores
    patch.setattr(clip, "clip_scores", lambda seen, said: right(seen, said.roll(-1, 0)))


def features_truncated(patch: Patch) -> None:
    """FID sees half of the features."""
    right = frechet.resampled
    patch.setattr(
        frechet,
        "resampled",
        lambda features, *rest: right(torch.cat([features[:, :64], features[:, 64:] * 0], 1), *rest),
    )


def guidance_left_out(patch: Patch) -> None:
    """Pictures are made without guidance."""
    right = generate.generate

    def unguided(target: Target, *rest: Any) -> generate.Pictures:
        return right(replace(target, protocol=replace(target.protocol, guidance_scale=1.0)), *rest)

    everywhere(patch, unguided)


def guidance_five_percent_off(patch: Patch) -> None:
    """The weight of guidance is 5 % too large."""
    right = generate.generate

    def off(target: Target, *rest: Any) -> generate.Pictures:
        scale = target.protocol.guidance_scale * 1.05
        return right(replace(target, protocol=replace(target.protocol, guidance_scale=scale)), *rest)

    everywhere(patch, off)


def scheduler_one_step_short(patch: Patch) -> None:
    """Sampling takes one denoising step less."""
    right = generate.generate

    def short(target: Target, *rest: Any) -> generate.Pictures:
        # The pass that measures memory has as few steps as the family can run.
        steps = max(target.family.fewest_steps, target.protocol.num_inference_steps - 1)
        return right(replace(target, protocol=replace(target.protocol, num_inference_steps=steps)), *rest)

    everywhere(patch, short)


def one_generator_for_all(patch: Patch) -> None:
    """All pictures of a batch start from the same noise."""
    right = call.latents
    patch.setattr(
        call, "latents", lambda target, captions: right(target, captions)[:1].expand(len(captions), -1, -1, -1)
    )


def generator_used_on(patch: Patch) -> None:
    """One generator draws the start noise of all pictures, one run after the other."""
    generator = torch.Generator().manual_seed(0)

    def drawn(target: Target, captions: list[str]) -> Tensor:
        unet = target.pipeline.unet.config
        shape = (len(captions), unet.in_channels, unet.sample_size, unet.sample_size)
        return torch.randn(shape, generator=generator)

    patch.setattr(call, "latents", drawn)


def pictures_darkened(patch: Patch) -> None:
    """Pictures are scaled to half of the range of 8 bits."""
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
    """Generation records gradients."""
    right = generate.generate.__wrapped__  # type: ignore[attr-defined]

    def tracked(target: Target, *rest: Any) -> generate.Pictures:
        pictures: generate.Pictures = right(replace(target, pipeline=_WithGradients(target.pipeline)), *rest)
        return pictures

    everywhere(patch, tracked)


def second_batch_from_the_first(patch: Patch) -> None:
    """The second batch of pictures starts from the noise of the first batch."""
    right = call.latents
    kept: list[tuple[str, Tensor]] = []

    def again(target: Target, captions: list[str]) -> Tensor:
        if not kept or kept[0][0] == captions[0]:
            kept[:] = [(captions[0], right(target, captions))]
        return kept[0][1][: len(captions)]

    patch.setattr(call, "latents", again)


def degenerate_flags_in_the_first_batch(patch: Patch) -> None:
    """The flags of later batches are written over those of the first."""
    wrong_line(patch, generate, "generate", "flags[part] = ", "flags[: len(made.images)] = ")
    everywhere(patch, generate.generate)


def degenerate_threshold_sixfold(patch: Patch) -> None:
    """A picture shows nothing up to twelve steps in place of two."""
    patch.setattr(degenerate, "FLAT", 12)


def null_arm_at_the_same_batch_size(patch: Patch) -> None:
    """The row dense compares the dense pictures with themselves."""

    def same(bench: Workbench, shelf: object, progress: Callable[[str], None]) -> Evidence:
        return bench.look(running.make(bench, bench.target, {}, bench.setup.batch_size, progress, None))

    patch.setattr(running, "_null_arm", same)


def fid_error_divided_again(patch: Patch) -> None:
    """FID's standard error, which is the spread of its resamples, is divided by √n once more."""
    right = fid.by_resample

    def divided(value: float, distances: Tensor, n: int) -> Values:
        values = right(value, distances, n)
        return replace(values, figure=replace(values.figure, se=values.figure.se / n**0.5))

    patch.setattr(fid, "by_resample", divided)


def reference_divided_by_n(patch: Patch) -> None:
    """The covariance of the reference pictures is divided by n in place of n - 1."""
    wrong_line(
        patch, frechet, "summarise", "torch.cov(features.double().T)", "torch.cov(features.double().T, correction=0)"
    )


def pictures_cut(patch: Patch) -> None:
    """Pictures are cut to 8 bits in place of rounded."""
    wrong_line(patch, generate, "quantised", ".round()", "")


def mask_off_while_generating(patch: Patch) -> None:
    """The dense weights are back in the model while pictures are made."""
    right_masked, right_make = running.masked, running.make
    dense: dict[str, dict[str, Tensor]] = {}

    @contextmanager
    def remembered(components: Mapping[str, nn.Module], pruning: masks.Pruning) -> Iterator[masks.Switch]:
        for name in pruning:
            dense[name] = {key: value.clone() for key, value in components[name].state_dict().items()}
        with right_masked(components, pruning) as switch:
            yield switch

    def unmasked(target: Target, *rest: Any, **more: Any) -> generate.Pictures:
        pruned = {n: {k: v.clone() for k, v in target.components[n].state_dict().items()} for n in dense}
        for name, weights in dense.items():
            target.components[name].load_state_dict(weights)
        try:
            return right_make(target, *rest, **more)
        finally:
            for name, weights in pruned.items():
                target.components[name].load_state_dict(weights)

    patch.setattr(running, "masked", remembered)
    patch.setattr(running, "make", unmasked)


def biases_pruned(patch: Patch) -> None:
    """The smaller half of every bias is set to zero together with the weights."""
    right = running.masked

    @contextmanager
    def more(components: Mapping[str, nn.Module], pruning: masks.Pruning) -> Iterator[masks.Switch]:
        with right(components, pruning) as switch:
            holders = [
                dict(components[c].named_modules())[name] for c, by_layer in pruning.items() for name in by_layer
            ]
            biases = [layer.bias.data for layer in holders if layer.bias is not None]
            kept = [bias.clone() for bias in biases]
            for bias in biases:
                bias[bias.abs().argsort()[: len(bias) // 2]] = 0
            yield switch
            for bias, before in zip(biases, kept, strict=True):
                bias.copy_(before)

    patch.setattr(running, "masked", more)


def prompts_of_the_dense_text_encoder(patch: Patch) -> None:
    """Captions that the dense text encoder has encoded are used although the case prunes it."""
    wrong_line(
        patch, pictures, "prompts_of", "bench.prompts if dense_texts else Prompts(target)", "bench.prompts"
    )  # fmt: skip
    patch.setattr(running, "prompts_of", pictures.prompts_of)


def clip_in_training_mode(patch: Patch) -> None:
    """The user's CLIP drops values at random, as in training."""
    right = ClipScorer.__init__

    def training(self: ClipScorer, *arguments: Any) -> None:
        right(self, *arguments)
        self.model.train()

    patch.setattr(ClipScorer, "__init__", training)


def captions_of_the_first_block(patch: Patch) -> None:
    """The user's CLIP scores every block of pictures against the captions of the first block."""
    wrong_line(patch, ClipScorer, "look", "list(captions[part])", "list(captions[: len(features)])")


def captions_of_the_first_block_of_scenes(patch: Patch) -> None:
    """The CLIP of `scenes` scores every block of pictures against the captions of the first block."""
    wrong_line(patch, ScenesScorer, "look", "list(captions[part])", "list(captions[: len(pixels)])")
