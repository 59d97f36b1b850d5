"""Draw scenes as anti-aliased pictures. The scenes and a seed decide every pixel."""

from __future__ import annotations

import math
import random
from collections.abc import Collection

import torch
from torch import Tensor

from harness.scenes.captions import BACKGROUNDS, COLOURS, SHAPES, Scene, describe, sample_scene, twin

SIDE = 64
RADII = {"small": (0.110, 0.145), "large": (0.180, 0.220)}
TURNING = ("square", "triangle", "star", "cross")


def _distance(shape: str, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Return how far every pixel is outside of a shape around the origin; negative inside. About a signed distance.

    Args:
        shape: One of `SHAPES`.
        x: Position to the right of the origin, `[n, h, w]`, in picture widths.
        y: Position below the origin, `[n, h, w]`, in picture widths.
        r: Radius, `[n, 1, 1]`, in picture widths.
    """
    if shape == "circle":
        return (x**2 + y**2).sqrt() - r
    if shape == "ring":
        return ((x**2 + y**2).sqrt() - r * 0.78).abs() - r * 0.24
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - r * 0.9
    if shape == "triangle":
        return torch.maximum(y - r * 0.75, x.abs() * 0.894 - y * 0.447 - r * 0.42)
    if shape == "cross":
        a, b, arm = x.abs(), y.abs(), r * 0.32
        return torch.minimum(torch.maximum(a - arm, b - r), torch.maximum(b - arm, a - r))
    if shape == "star":
        step = math.pi / 5
        angle = (torch.remainder(torch.atan2(x, -y) + step, 2 * step) - step).abs()
        radius = (x**2 + y**2).sqrt()
        tip, notch = r * 1.15, r * 0.52
        qx, qy = radius * angle.cos(), radius * angle.sin()
        nx, ny = notch * math.sin(step), -(notch * math.cos(step) - tip)
        return ((qx - tip) * nx + qy * ny) / (nx**2 + ny**2).sqrt()
    raise ValueError(f"unknown shape {shape!r}")


def _places(scene: Scene, rng: random.Random) -> list[tuple[float, float]]:
    if len(scene.things) == 1:
        return [(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))]
    near, far = (0.27, 0.73) if scene.relation in ("left of", "above") else (0.73, 0.27)
    along = [near + rng.uniform(-0.05, 0.05), far + rng.uniform(-0.05, 0.05)]
    across = [0.5 + rng.uniform(-0.18, 0.18) for _ in range(2)]
    if scene.relation in ("left of", "right of"):
        return list(zip(along, across, strict=True))
    return list(zip(across, along, strict=True))


def render(scenes: list[Scene], seed: int) -> Tensor:
    """Draw scenes. Place, turn, size, colour and light vary a little at random.

    Args:
        scenes: n scenes.
        seed: Decides all random values: the same scenes and seed give the same pictures.

    Returns:
        float32 `[n, 3, 64, 64]` in [0, 1].
    """
    rng = random.Random(seed)
    n = len(scenes)
    axis = (torch.arange(SIDE) + 0.5) / SIDE
    gy, gx = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.tensor([BACKGROUNDS[s.background] for s in scenes]).view(n, 3, 1, 1).repeat(1, 1, SIDE, SIDE)
    image += torch.tensor([rng.uniform(-0.03, 0.03) for _ in range(n)]).view(n, 1, 1, 1)
    drawn: dict[tuple[int, str], list[tuple[int, list[float], list[float]]]] = {}
    for i, scene in enumerate(scenes):
        for k, (thing, (cx, cy)) in enumerate(zip(scene.things, _places(scene, rng), strict=True)):
            turn = rng.uniform(-0.2, 0.2) if thing.shape in TURNING else 0.0
            colour = [v + rng.uniform(-0.04, 0.04) for v in COLOURS[thing.colour]]
            geometry = [cx, cy, rng.uniform(*RADII[thing.size]), turn]
            drawn.setdefault((k, thing.shape), []).append((i, geometry, colour))
    for k in range(2):
        for shape in SHAPES:
            group = drawn.get((k, shape))
            if not group:
                continue
            rows = torch.tensor([g[0] for g in group])
            cx, cy, r, turn = torch.tensor([g[1] for g in group]).T[:, :, None, None]
            dx, dy = gx - cx, gy - cy
            d = _distance(shape, dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin(), r)
            alpha = (0.5 - d * SIDE).clamp(0, 1)[:, None]
            light = 1.0 - 0.12 * (dy / r).clamp(-1, 1)[:, None]
            ink = torch.tensor([g[2] for g in group])[:, :, None, None] * light
            image[rows] = image[rows] * (1 - alpha) + ink * alpha
    return image.clamp(0, 1)


def sample_batch(
    n: int, seed: int, splits: Collection[str], twins: bool = False
) -> tuple[Tensor, list[str], list[Scene]]:
    """Draw n scenes with their captions and pictures.

    Args:
        n: How many; even where `twins` is set.
        seed: Decides scenes, captions and pictures.
        splits: The splits that the scenes come from.
        twins: Whether the second half are twins of the first half: see `captions.twin`.

    Returns:
        Pictures (float32 `[n, 3, 64, 64]` in [0, 1]), captions, and scenes.
    """
    rng = random.Random(seed)
    scenes = [sample_scene(rng, splits) for _ in range(n // 2 if twins else n)]
    if twins:
        scenes += [twin(scene, rng, splits) for scene in scenes]
    captions = [describe(scene, rng) for scene in scenes]
    return render(scenes, rng.randrange(2**31)), captions, scenes
