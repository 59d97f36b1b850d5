"""The independent judges: a network that reads a picture, and a CLIP of its own. Neither is part of the model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

from harness.scenes.captions import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, SIZES, Scene

IGNORED = -100
ATTRIBUTES = ("background", "count", "axis", "shape", "colour", "size", "shape 2", "colour 2", "size 2")
CLASSES = (len(BACKGROUNDS), 2, 2, *(len(SHAPES), len(COLOURS), len(SIZES)) * 2)
FEATURES = 128


def labels(scenes: list[Scene]) -> Tensor:
    """Return what a right picture of each scene shows: int64 `[n, 9]` in the order of `ATTRIBUTES`.

    Things are read from left to right or top to bottom; what a scene does not have is `IGNORED`.
    """
    rows = []
    for scene in scenes:
        relation, things = scene.ordered()
        row = [list(BACKGROUNDS).index(scene.background), len(things) - 1]
        row.append(IGNORED if relation is None else int(relation == "above"))
        for thing in things:
            row += [SHAPES.index(thing.shape), list(COLOURS).index(thing.colour), SIZES.index(thing.size)]
        rows.append(row + [IGNORED] * (len(ATTRIBUTES) - len(row)))
    return torch.tensor(rows)


class Reader(nn.Module):
    """Three convolution stages, 128 features for FID, and a head for every attribute of a scene."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU(),
                nn.Conv2d(b, b, 3, 1, 1), nn.GroupNorm(8, b), nn.SiLU(),
            )  # fmt: skip

        self.trunk = nn.Sequential(
            block(3, 32), block(32, 64), block(64, 96), nn.Conv2d(96, 96, 3, 1, 1), nn.SiLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1536, FEATURES), nn.SiLU(),
        )  # fmt: skip
        self.heads = nn.Linear(FEATURES, sum(CLASSES))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map pictures in [-1, 1] `[n, 3, 64, 64]` to features `[n, 128]` and one table of logits per attribute.

        The features are scaled so that on real pictures their variances have a mean of 1.
        """
        features = self.trunk(pixels)
        return features * self.scale, self.heads(features).split(CLASSES, dim=1)


def correct(logits: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Return bool `[n, 9]`: the attribute is read as `target` says, or the scene does not have it."""
    read = torch.stack([table.argmax(1) for table in logits], dim=1)
    return (read == target) | (target == IGNORED)


WORDS = sorted(
    {"a", "on", "background", "against", "to", "the", ",", *BACKGROUNDS, *COLOURS, *SHAPES, *SIZES}
    | {word for relation in RELATIONS for word in relation.split()}
)
MAX_WORDS = 24


class JudgeCLIP(nn.Module):
    """A CLIP that shares nothing with the model under test: whole words, a recurrent reader, a convolutional eye."""

    def __init__(self, width: int = 96, dim: int = 96) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 2, width, padding_idx=0)
        self.text = nn.GRU(width, width, num_layers=2, batch_first=True, bidirectional=True)
        self.text_head = nn.Sequential(nn.Linear(4 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, dim))
        self.eye = nn.ModuleList(
            [
                nn.Conv2d(3, 24, 5, 2, 2),
                nn.Conv2d(24, 48, 3, 2, 1),
                nn.Conv2d(48, 96, 3, 2, 1),
                nn.Conv2d(96, 96, 3, 1, 1),
            ]
        )
        self.eye_norms = nn.ModuleList([nn.GroupNorm(4, c) for c in (24, 48, 96, 96)])
        self.eye_head = nn.Sequential(nn.Linear(96 * 16, 2 * width), nn.SiLU(), nn.Linear(2 * width, dim))
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    @staticmethod
    def tokens(captions: list[str]) -> Tensor:
        """Return word ids, int64 `[n, 24]`: 0 pads, 1 is a word the judge does not know; longer captions are cut."""
        index = {word: i + 2 for i, word in enumerate(WORDS)}
        rows = [[index.get(w, 1) for w in re.findall(r"\w+|,", c.lower())][:MAX_WORDS] for c in captions]
        return torch.tensor([row + [0] * (MAX_WORDS - len(row)) for row in rows])

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Map word ids `[n, 24]` to unit vectors `[n, 96]`."""
        states, _ = self.text(self.words(tokens))
        seen = (tokens != 0).unsqueeze(-1)
        mean = (states * seen).sum(1) / seen.sum(1).clamp(min=1)
        peak = states.masked_fill(~seen, -1.0).amax(1)
        return normalize(self.text_head(torch.cat([mean, peak], dim=1)), dim=1)

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Map pictures in [-1, 1] `[n, 3, 64, 64]` to unit vectors `[n, 96]`."""
        for layer, norm in zip(self.eye, self.eye_norms, strict=True):
            pixels = silu(norm(layer(pixels)))
        return normalize(self.eye_head(nn.functional.adaptive_avg_pool2d(pixels, 4).flatten(1)), dim=1)


def save_judge(model: nn.Module, path: Path) -> None:
    """Write a judge's weights as safetensors."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata={"words": json.dumps(WORDS)})
