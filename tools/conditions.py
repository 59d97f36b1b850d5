"""Does the U-Net understand words? Its error with the right caption, with none, and with wrong captions.

    python tools/conditions.py [--weights DIR]

Prints the mean squared error of the predicted v on 256 drawn pictures with two things, at several noise levels, with
the same noise for every caption. Where a wrong caption does as well as the right one, the model does not know the
difference.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool, path
from harness.scenes.captions import COLOURS, SHAPES, Scene, Thing, describe
from harness.scenes.weights import WEIGHTS, verified

TIMES = (999, 900, 800, 700, 600, 500, 400, 300, 200, 100)


def exchanged(scene: Scene, what: str) -> Scene:
    """Return the scene with its two things exchanged: as wholes ("places"), or in one attribute."""
    first, second = scene.things
    if what == "places":
        return replace(scene, things=(second, first))
    return replace(
        scene,
        things=(
            replace(first, **{what: getattr(second, what)}),
            replace(second, **{what: getattr(first, what)}),
        ),
    )


def other(scene: Scene, what: str, values: tuple[str, ...], rng: random.Random) -> Scene:
    """Return the scene with another value of an attribute for each of its things."""

    def changed(thing: Thing) -> Thing:
        return replace(thing, **{what: rng.choice([v for v in values if v != getattr(thing, what)])})

    return replace(scene, things=tuple(changed(thing) for thing in scene.things))


def spoken(scenes: Sequence[Scene], captions: Sequence[str]) -> dict[str, list[str]]:
    """Return the captions of scenes with two things, by kind: the right ones, none, and wrong ones."""
    rng = random.Random(0)
    said = {"right": list(captions), "no caption": [""] * len(scenes)}
    for what in ("places", "shape", "colour", "size"):
        said[f"{what} exchanged"] = [describe(exchanged(s, what), random.Random(i)) for i, s in enumerate(scenes)]
    for what, values in (("shape", SHAPES), ("colour", tuple(COLOURS))):
        said[f"other {what}s"] = [describe(other(s, what, values, rng), random.Random(i)) for i, s in enumerate(scenes)]
    return said


def measure(weights: Path) -> int:
    """Print the table of a weights folder."""
    import torch
    from diffusers import DDPMScheduler

    from harness.scenes.diffusion import tokenize
    from harness.scenes.render import sample_batch
    from harness.targets.scenes import from_folder

    if weights == WEIGHTS:
        verified()
    pipeline = from_folder(weights / "pipeline", torch.device("cpu"), "unchecked").pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    pixels, captions, scenes = sample_batch(400, 123, ("evaluation",))
    two = [i for i, scene in enumerate(scenes) if len(scene.things) == 2][:256]
    pixels, captions, scenes = pixels[two], [captions[i] for i in two], [scenes[i] for i in two]
    with torch.inference_mode():
        states = {
            name: pipeline.text_encoder(tokenize(pipeline.tokenizer, texts)).last_hidden_state
            for name, texts in spoken(scenes, captions).items()
        }
        clean = pipeline.vae.encode(pixels * 2 - 1).latent_dist.mean
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        print(f"{len(two)} pictures\n{'t':>5}" + "".join(f"{name:>18}" for name in states))
        for time in TIMES:
            times = torch.full((len(two),), time)
            noisy, wanted = scheduler.add_noise(clean, noise, times), scheduler.get_velocity(clean, noise, times)
            errors = [
                (pipeline.unet(noisy, times, state).sample - wanted).square().mean().item() for state in states.values()
            ]
            print(f"{time:>5}" + "".join(f"{error:>18.4f}" for error in errors), flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--weights", type=path, default=WEIGHTS, metavar="DIR", help="default: the shipped weights")
    return guarded(lambda: measure(parser.parse_args(arguments).weights))


if __name__ == "__main__":
    sys.exit(main())
