"""Measure the embedded model itself: reference statistics, dense quality, and how far its judges can be trusted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import files
from harness.errors import HarnessError
from harness.measurement import mean, share
from harness.quality.composition import Composition
from harness.quality.fid import fid, load_reference, summarise
from harness.quality.generate import generate, quantised
from harness.quality.judging import Judges
from harness.report.pictures import contact_grid
from harness.report.terminal import figure
from harness.scenes.captions import SPLITS, Scene, describe, held_out, twin
from harness.scenes.render import render
from harness.scenes.weights import WEIGHTS, write_digests
from harness.targets.base import choose_device
from harness.targets.scenes import PROTOCOL, from_folder

REFERENCE_SEED = 31_000
REAL_SEED = 32_000


def real_pictures(scenes: list[Scene], seed: int) -> Tensor:
    """Draw scenes and round them to 8 bits: uint8 `[n, 3, 64, 64]`."""
    return torch.cat([quantised(render(scenes[i : i + 250], seed + i)) for i in range(0, len(scenes), 250)])


def write_reference(weights: Path | None, pictures: int) -> str:
    """Draw the held-out captions over and over with fresh jitter, store mean and covariance of the reader's features.

    Then records the digests of all weight files. Returns a line that says what was written.
    """
    from safetensors.torch import save

    folder = weights or WEIGHTS
    pairs = held_out()
    if pictures < 1 or pictures % len(pairs):
        raise HarnessError(f"{pictures} pictures do not show each of the {len(pairs)} captions equally often")
    judges = Judges(folder / "judges", torch.device("cpu"))
    scenes, captions = [scene for _, scene in pairs], [caption for caption, _ in pairs]
    features = [
        judges.look(real_pictures(scenes, REFERENCE_SEED + 1000 * i), captions, scenes).features
        for i in range(pictures // len(pairs))
    ]
    average, covariance = summarise(torch.cat(features))
    path = folder / "reference" / "reference.safetensors"
    content = save({"mean": average, "covariance": covariance, "n": torch.tensor(pictures)})
    files.write(path, content)
    write_digests(folder)
    return f"{path}: {pictures} pictures, {len(average)} features"


def dense(weights: Path | None, captions: int, steps: int | None, device: str, sheet: Path | None) -> Iterator[str]:
    """Yield a table, line by line: the judges on real pictures, the autoencoder's round trip, and the dense model."""
    from dataclasses import replace

    folder, where = weights or WEIGHTS, choose_device(device)
    if not 64 <= captions <= len(held_out()):
        raise HarnessError(f"--captions is {captions}, wanted 64 to {len(held_out())}")
    if steps is not None and steps < 1:
        raise HarnessError(f"--steps is {steps}, wanted 1 or more")
    pairs = held_out()[:captions]
    texts, scenes = [caption for caption, _ in pairs], [scene for _, scene in pairs]
    judges = Judges(folder / "judges", where)
    target = from_folder(folder / "pipeline", where, "unchecked")
    protocol = replace(PROTOCOL, num_inference_steps=steps or PROTOCOL.num_inference_steps)
    target = replace(target, protocol=protocol)

    def row(name: str, composition: Composition) -> str:
        worst, low = min(composition.by_attribute().items(), key=lambda item: item[1].value)
        return f"{name:<26} exact {figure(composition.accuracy(), 3)}  lowest attribute {worst} {figure(low, 3)}"

    how = f"{protocol.num_inference_steps} steps, guidance {protocol.guidance_scale}, {where}"
    yield f"{captions} held-out captions, {how}"
    real = real_pictures(scenes, REAL_SEED)
    opinion = judges.look(real, texts, scenes)
    yield row("real pictures", opinion.composed) + f"  CLIP {figure(mean(opinion.clip), 2)}"
    reference = load_reference(folder / "reference" / "reference.safetensors")
    yield f"{'':<26} FID {figure(fid(opinion.features, reference), 3)}"
    retrieved = share(_retrieved(judges, real, texts, scenes))
    yield f"{'judge CLIP on real ones':<26} right one of 64 captions {figure(retrieved, 3)}"
    told_apart = share(_told_apart(judges, real, texts, scenes))
    yield f"{'':<26} right one of two twins {figure(told_apart, 3)}"
    opinion = judges.look(round_trip(target.pipeline.vae, real), texts, scenes)
    yield row("autoencoder round trip", opinion.composed) + f"  CLIP {figure(mean(opinion.clip), 2)}"
    pictures = generate(target, texts, 64, lambda _: None)
    opinion = judges.look(pictures.images, texts, scenes)
    yield row("dense model", opinion.composed) + f"  CLIP {figure(mean(opinion.clip), 2)}"
    yield f"{'':<26} FID {figure(fid(opinion.features, reference), 3)}  degenerate {int(pictures.degenerate.sum())}"
    for name, measured in opinion.composed.by_attribute().items():
        yield f"{'':<26} {name:<12} {figure(measured, 3)}"
    if sheet:
        contact_grid(pictures.images[:48], texts[:48], sheet)
    unseen = held_out("combination")[: captions // 2]
    texts, scenes = [caption for caption, _ in unseen], [scene for _, scene in unseen]
    made = generate(target, texts, 64, lambda _: None).images
    yield row("unseen combinations", judges.look(made, texts, scenes).composed) + f"  n {len(unseen)}"


@torch.inference_mode()
def round_trip(autoencoder: Any, images: Tensor) -> Tensor:
    """Encode and decode pictures, uint8 `[n, 3, 64, 64]`, without noise."""
    found = []
    for part in torch.split(images, 100):
        pixels = part.to(next(autoencoder.parameters()).device).float() / 127.5 - 1
        latents = autoencoder.encode(pixels).latent_dist.mean
        found.append(quantised(autoencoder.decode(latents).sample.cpu() / 2 + 0.5))
    return torch.cat(found)


@torch.inference_mode()
def _embed(judges: Judges, captions: list[str], images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the judge CLIP's unit vectors of captions and of pictures, `[n, d]` each."""
    text = judges.clip.embed_text(judges.clip.tokens(captions).to(judges.device)).cpu()
    pixels = images.to(judges.device).float() / 127.5 - 1
    return text, torch.cat([judges.clip.embed_image(part).cpu() for part in torch.split(pixels, 256)])


def _told_apart(judges: Judges, images: Tensor, captions: list[str], scenes: list[Scene]) -> Tensor:
    """Return bool `[n]`: the picture's own caption scores higher than that of a scene that differs in one respect."""
    rng = random.Random(0)
    twins = [describe(twin(scene, rng, SPLITS), rng) for scene in scenes]
    text, seen = _embed(judges, captions, images)
    other, _ = _embed(judges, twins, images[:1])
    return (text * seen).sum(1) > (other * seen).sum(1)


def _retrieved(judges: Judges, images: Tensor, captions: list[str], scenes: list[Scene]) -> Tensor:
    """Return bool `[n]`: the picture's own caption scores highest among 64 that all mean something else."""
    text, seen = _embed(judges, captions, images)
    meanings = [scene.meaning() for scene in scenes]
    generator = torch.Generator().manual_seed(0)
    hits = []
    for i in range(len(images)):
        others = [j for j in torch.randperm(len(images), generator=generator).tolist() if meanings[j] != meanings[i]]
        distinct = list({meanings[j]: j for j in others}.values())[:63]
        rivals = text[distinct] @ seen[i]
        hits.append(bool(text[i] @ seen[i] > rivals.max()))
    return torch.tensor(hits)
