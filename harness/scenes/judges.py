"""The two scorers of `scenes`: the reader, which names what a picture shows, and a CLIP. The pipeline uses neither."""

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
    """Return the attributes that a right picture of each scene shows.

    Args:
        scenes: n scenes.

    Returns:
        int64 `[n, 9]`: the class of every attribute, in the order of `ATTRIBUTES`. Things count from left to right or
        from top to bottom. An attribute that the scene does not have is `IGNORED`.
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
    """The reader: three stages of convolutions, 128 features for FID, and a classifier for every attribute."""

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
        """Read pictures.

        Args:
            pixels: `[n, 3, 64, 64]` in [-1, 1].

        Returns:
            Features `[n, 128]`, whose variances on real pictures have a mean of 1; and logits `[n, classes]` for every
            attribute of `ATTRIBUTES`.
        """
        features = self.trunk(pixels)
        return features * self.scale, self.heads(features).split(CLASSES, dim=1)


def correct(logits: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Return which attributes are right.

    Args:
        logits: The reader's answers on n pictures.
        target: The right answers, int64 `[n, 9]`: see `labels`.

    Returns:
        bool `[n, 9]`: the reader names the class of the target, or the scene does not have the attribute.
    """
    read = torch.stack([table.argmax(1) for table in logits], dim=1)
    return (read == target) | (target == IGNORED)


WORDS = sorted(
    {"a", "on", "background", "against", "to", "the", ",", *BACKGROUNDS, *COLOURS, *SHAPES, *SIZES}
    | {word for relation in RELATIONS for word in relation.split()}
)
MAX_WORDS = 24


class JudgeCLIP(nn.Module):
    """The scorer CLIP of `scenes`. It shares nothing with the model under test.

    Its tokens are whole words; a recurrent network reads captions and a convolutional network reads pictures.
    """

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
        """Return word ids, int64 `[n, 24]`. 0 is padding, 1 is an unknown word; words after the 24th are dropped."""
        index = {word: i + 2 for i, word in enumerate(WORDS)}
        rows = [[index.get(w, 1) for w in re.findall(r"\w+|,", c.lower())][:MAX_WORDS] for c in captions]
        return torch.tensor([row + [0] * (MAX_WORDS - len(row)) for row in rows])

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Return unit vectors `[n, 96]` of captions, given as word ids `[n, 24]`."""
        states, _ = self.text(self.words(tokens))
        seen = (tokens != 0).unsqueeze(-1)
        mean = (states * seen).sum(1) / seen.sum(1).clamp(min=1)
        peak = states.masked_fill(~seen, -1.0).amax(1)
        return normalize(self.text_head(torch.cat([mean, peak], dim=1)), dim=1)

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Return unit vectors `[n, 96]` of pictures `[n, 3, 64, 64]` in [-1, 1]."""
        for layer, norm in zip(self.eye, self.eye_norms, strict=True):
            pixels = silu(norm(layer(pixels)))
        return normalize(self.eye_head(nn.functional.adaptive_avg_pool2d(pixels, 4).flatten(1)), dim=1)


def save_judge(model: nn.Module, path: Path) -> None:
    """Write the weights of a scorer as safetensors."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata={"words": json.dumps(WORDS)})
