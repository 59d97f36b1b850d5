"""`prunegate measure-scenes`: measures how good the embedded model is, and how far its scorers can be trusted."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.cli import places
from harness.cli.parsers import DEVICES, Commands, declare, path
from harness.cli.progress import progress, say
from harness.errors import HarnessError
from harness.targets.spec import PROTOCOLS

if TYPE_CHECKING:
    from torch import Tensor

    from harness.metrics.evidence import Evidence
    from harness.metrics.scorers.scenes import ScenesScorer
    from harness.scenes.captions import Scene

REAL_SEED = 32_000
_RIVALS = 63
# Steps that the model was trained with.
_MOST_STEPS = 1000
_BATCH = 64


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "measure-scenes",
        "measure the embedded model and its scorers",
        "Measure how good the embedded model is, and how far its scorers can be trusted. The command prints the table "
        "of the model card.",
        "prunegate measure-scenes --captions 64 --sheet sheet.png",
    )
    parser.add_argument("--weights", type=path, metavar="DIR", help="a weights folder (default: the shipped one)")
    parser.add_argument(
        "--captions", type=int, default=1000, metavar="N", help="number of captions, 64 to 1000 (default: 1000)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"denoising steps per picture, 1 to 1000 (default: {PROTOCOLS['scenes'].num_inference_steps})",
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICES)
    parser.add_argument("--sheet", type=path, metavar="FILE", help="draw the first 48 pictures into this PNG file")
    places.add_force(parser, "--sheet")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    places.check_force("--sheet", options.sheet, options.force)
    if options.sheet is not None:
        places.check("--sheet", options.sheet, places.SHEET, [], options.force)
    if options.steps is not None and not 1 <= options.steps <= _MOST_STEPS:
        raise HarnessError(f"--steps {options.steps} is out of range; give 1 to {_MOST_STEPS}")
    for line in table(options):
        say(line)
    return 0


@dataclass(frozen=True)
class _Shown:
    """Captions and their scenes."""

    captions: list[str]
    scenes: list[Scene]

    @staticmethod
    def of(pairs: Sequence[tuple[str, Scene]]) -> _Shown:
        return _Shown([caption for caption, _ in pairs], [scene for _, scene in pairs])


def table(options: argparse.Namespace) -> Iterator[str]:
    """Yield the table, line by line: real pictures, the autoencoder's round trip, the dense model.

    Args:
        options: weights, captions, steps, device and sheet of the command.

    Raises:
        HarnessError: An option is wrong, or the weights cannot be loaded.
    """
    from harness.generation.generate import generate
    from harness.measurement import mean
    from harness.metrics.composition import by_attribute
    from harness.metrics.frechet import fid
    from harness.metrics.reference import read
    from harness.metrics.scorers.scenes import ScenesScorer
    from harness.report.pictures import contact_grid
    from harness.report.terminal import figure
    from harness.scenes.captions import held_out
    from harness.scenes.weights import WEIGHTS, unchanged, verified
    from harness.targets.scenes import from_folder
    from harness.targets.target import choose_device

    folder, device = options.weights or WEIGHTS, choose_device(options.device)
    known = held_out()
    if not _BATCH <= options.captions <= len(known):
        raise HarnessError(f"--captions {options.captions} is out of range; give {_BATCH} to {len(known)}")
    if options.weights is None:
        verified()
    else:
        unchanged(folder, ())
    shown = _Shown.of(known[: options.captions])
    scorer = ScenesScorer(folder / "judges", device)
    reference = read(folder / "reference" / "reference.safetensors", scorer.digest).frechet
    target = from_folder(folder / "pipeline", device, "unchecked")
    protocol = replace(target.protocol, num_inference_steps=options.steps or target.protocol.num_inference_steps)
    target = replace(target, protocol=protocol)

    steps = f"{protocol.num_inference_steps} steps, guidance {protocol.guidance_scale}, {device}"
    yield f"{options.captions} held-out captions, {steps}"
    real = real_pictures(shown.scenes, REAL_SEED)
    seen = scorer.look(real, shown.captions)
    yield _row("real pictures", seen) + f"  CLIP {figure(mean(seen.scores), 2)}"
    yield f"{'':<26} FID {figure(fid(seen.features, reference), 3)}"
    yield from _trust(scorer, real, shown)
    seen = scorer.look(round_trip(target.pipeline.vae, real), shown.captions)
    yield _row("autoencoder round trip", seen) + f"  CLIP {figure(mean(seen.scores), 2)}"
    with progress() as show:
        pictures = generate(target, shown.captions, _BATCH, show)
    seen = scorer.look(pictures.images, shown.captions)
    yield _row("dense model", seen) + f"  CLIP {figure(mean(seen.scores), 2)}"
    yield f"{'':<26} FID {figure(fid(seen.features, reference), 3)}  degenerate {int(pictures.degenerate.sum())}"
    assert seen.composition is not None
    for name, measured in by_attribute(seen.composition).items():
        yield f"{'':<26} {name:<12} {figure(measured, 3)}"
    if options.sheet:
        contact_grid(pictures.images[:48], shown.captions[:48], options.sheet)
    unseen = _Shown.of(held_out("combination")[: options.captions // 2])
    with progress() as show:
        pictures = generate(target, unseen.captions, _BATCH, show)
    yield _row("unseen combinations", scorer.look(pictures.images, unseen.captions)) + f"  n {len(unseen.captions)}"


def _row(name: str, seen: Evidence) -> str:
    from harness.measurement import share
    from harness.metrics.composition import by_attribute, exact
    from harness.report.terminal import figure

    assert seen.composition is not None
    worst, low = min(by_attribute(seen.composition).items(), key=lambda item: item[1].value)
    accuracy = figure(share(exact(seen.composition)), 3)
    return f"{name:<26} exact {accuracy}  lowest attribute {worst} {figure(low, 3)}"


def _trust(scorer: ScenesScorer, real: Tensor, shown: _Shown) -> Iterator[str]:
    """Yield lines on how often the scorer's CLIP is right about real pictures."""
    from harness.measurement import share
    from harness.report.terminal import figure

    retrieved = figure(share(_retrieved(scorer, real, shown)), 3)
    yield f"{'scorer CLIP on real ones':<26} right one of {_RIVALS + 1} captions {retrieved}"
    yield f"{'':<26} right one of two twins {figure(share(_told_apart(scorer, real, shown)), 3)}"


def real_pictures(scenes: Sequence[Scene], seed: int) -> Tensor:
    """Draw scenes and round them to 8 bits.

    Args:
        scenes: The scenes.
        seed: Seed of the random shifts.

    Returns:
        uint8 `[n, 3, 64, 64]`.
    """
    import torch

    from harness.generation.generate import quantised
    from harness.scenes.render import render

    return torch.cat([quantised(render(list(scenes[i : i + 250]), seed + i)) for i in range(0, len(scenes), 250)])


def round_trip(autoencoder: Any, images: Tensor) -> Tensor:
    """Encode and decode pictures without noise.

    Args:
        autoencoder: A diffusers autoencoder.
        images: uint8 `[n, 3, h, w]`.

    Returns:
        uint8 `[n, 3, h, w]` on the CPU.
    """
    import torch

    from harness.generation.generate import quantised

    device, decoded = next(autoencoder.parameters()).device, []
    with torch.inference_mode():
        for part in torch.split(images, 100):
            latents = autoencoder.encode(part.to(device).float() / 127.5 - 1).latent_dist.mean
            decoded.append(quantised(autoencoder.decode(latents).sample.cpu() / 2 + 0.5))
    return torch.cat(decoded)


def _embedded(scorer: ScenesScorer, captions: Sequence[str], images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit vectors of captions and of pictures in the scorer's CLIP, `[n, d]` each, on the CPU."""
    import torch

    with torch.inference_mode():
        text = scorer.clip.embed_text(scorer.clip.tokens(list(captions)).to(scorer.device)).cpu()
        pixels = images.to(scorer.device).float() / 127.5 - 1
        return text, torch.cat([scorer.clip.embed_image(part).cpu() for part in torch.split(pixels, 256)])


def _told_apart(scorer: ScenesScorer, images: Tensor, shown: _Shown) -> Tensor:
    """Return bool `[n]`: the caption of a picture scores higher than the caption of the scene's twin."""
    from harness.scenes.captions import SPLITS, describe, twin

    rng = random.Random(0)
    twins = [describe(twin(scene, rng, SPLITS), rng) for scene in shown.scenes]
    text, seen = _embedded(scorer, shown.captions, images)
    other, _ = _embedded(scorer, twins, images[:1])
    return (text * seen).sum(1) > (other * seen).sum(1)


def _retrieved(scorer: ScenesScorer, images: Tensor, shown: _Shown) -> Tensor:
    """Return bool `[n]`: the caption of a picture scores highest among 64 captions of different meanings."""
    import torch

    text, seen = _embedded(scorer, shown.captions, images)
    meanings = [scene.meaning() for scene in shown.scenes]
    generator = torch.Generator().manual_seed(0)
    hits = []
    for i in range(len(images)):
        others = [j for j in torch.randperm(len(images), generator=generator).tolist() if meanings[j] != meanings[i]]
        distinct = list({meanings[j]: j for j in others}.values())[:_RIVALS]
        hits.append(bool(text[i] @ seen[i] > (text[distinct] @ seen[i]).max()))
    return torch.tensor(hits)
