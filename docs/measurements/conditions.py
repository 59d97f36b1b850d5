"""What the U-Net makes of the words: its error with the right caption, with none, and with one thing said wrongly.

    python docs/measurements/conditions.py [WEIGHTS]

The mean squared error of the predicted v on 256 drawn pictures with two things, at several noise levels, with the same
noise for every condition. Where a wrong caption does as well as the right one, the model does not know the difference.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import torch

from harness.scenes.captions import COLOURS, SHAPES, Scene, Thing, describe
from harness.scenes.diffusion import tokenize
from harness.scenes.render import sample_batch
from harness.scenes.weights import WEIGHTS
from harness.targets.scenes import from_folder

TIMES = (999, 900, 800, 700, 600, 500, 400, 300, 200, 100)


def exchanged(scene: Scene, what: str) -> Scene:
    """Return the scene with its two things exchanged, as wholes or in one attribute."""
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


@torch.inference_mode()
def main(weights: Path) -> None:
    """Measure and print."""
    from diffusers import DDPMScheduler

    pipeline = from_folder(weights / "pipeline", torch.device("cpu"), "unchecked").pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    pixels, captions, scenes = sample_batch(400, 123, ("evaluation",))
    two = [i for i, scene in enumerate(scenes) if len(scene.things) == 2][:256]
    pixels, captions, scenes = pixels[two], [captions[i] for i in two], [scenes[i] for i in two]
    rng = random.Random(0)
    conditions = {"right": captions, "no caption": [""] * len(two)}
    for what in ("places", "shape", "colour", "size"):
        conditions[f"{what} exchanged"] = [describe(exchanged(s, what), random.Random(i)) for i, s in enumerate(scenes)]
    for what, values in (("shape", SHAPES), ("colour", tuple(COLOURS))):
        conditions[f"other {what}s"] = [
            describe(other(s, what, values, rng), random.Random(i)) for i, s in enumerate(scenes)
        ]
    states = {
        name: pipeline.text_encoder(tokenize(pipeline.tokenizer, texts)).last_hidden_state
        for name, texts in conditions.items()
    }
    clean = pipeline.vae.encode(pixels * 2 - 1).latent_dist.mean
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    print(f"{len(two)} pictures\n{'t':>5}" + "".join(f"{name:>18}" for name in conditions))
    for time in TIMES:
        times = torch.full((len(two),), time)
        noisy, wanted = scheduler.add_noise(clean, noise, times), scheduler.get_velocity(clean, noise, times)
        errors = [(pipeline.unet(noisy, times, s).sample - wanted).square().mean().item() for s in states.values()]
        print(f"{time:>5}" + "".join(f"{error:>18.4f}" for error in errors), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS)
