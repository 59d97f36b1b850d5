"""Let the independent judges of `scenes` look at pictures: features, composition and CLIP score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness.errors import HarnessError
from harness.quality.clip import clip_scores
from harness.quality.composition import Composition
from harness.scenes.captions import Scene
from harness.scenes.judges import JudgeCLIP, Reader, correct, labels


@dataclass(frozen=True)
class Opinion:
    """What the judges say of n pictures: the state of every metric, merged by putting batches behind each other.

    features: the reader's, `[n, d]`. embeddings: the judge CLIP's, unit vectors `[n, e]`. clip: `[n]`, 100·cos with the
    caption. composition: per attribute, None where the judge cannot tell. All on the CPU.
    """

    features: Tensor
    embeddings: Tensor
    clip: Tensor
    composition: Composition | None

    @property
    def composed(self) -> Composition:
        """Return the composition. Raises HarnessError where the judge cannot tell."""
        if self.composition is None:
            raise HarnessError("this judge does not tell what a picture is composed of")
        return self.composition


@dataclass(frozen=True)
class Seen:
    """All that is known of the pictures of one model. degenerate: how many of them show nothing."""

    opinion: Opinion
    degenerate: int


def merged(parts: Sequence[Opinion]) -> Opinion:
    """Return the opinion on all pictures, in the order of the parts."""
    composed = [part.composition for part in parts if part.composition is not None]
    composition = (
        Composition(torch.cat([c.right for c in composed]), torch.cat([c.wanted for c in composed]))
        if composed
        else None
    )
    features, embeddings, clip = (torch.cat([getattr(p, n) for p in parts]) for n in ("features", "embeddings", "clip"))
    return Opinion(features, embeddings, clip, composition)


class Judges:
    """The reader and the judge CLIP, loaded once. Their weights are not the target's and were trained apart."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load both from the safetensors files in `folder`. Raises HarnessError where one is missing or damaged."""
        self.device = device
        self.reader, self.clip = Reader().eval().to(device), JudgeCLIP().eval().to(device)
        for judge, name in ((self.reader, "reader.safetensors"), (self.clip, "clip.safetensors")):
            try:
                judge.load_state_dict(load_file(folder / name))
            except (OSError, RuntimeError, SafetensorError) as error:
                reason = str(error).splitlines()[0]
                raise HarnessError(
                    f"the judge {folder / name} cannot be read ({reason}); is this a folder of weights?"
                ) from error

    @torch.inference_mode()
    def look(self, images: Tensor, captions: list[str], scenes: list[Scene]) -> Opinion:
        """Judge pictures, uint8 `[n, 3, 64, 64]`, against their captions and scenes; in batches of 256."""
        parts = []
        for first in range(0, len(images), 256):
            part = slice(first, first + 256)
            pixels = images[part].to(self.device).float() / 127.5 - 1
            features, logits = self.reader(pixels)
            embeddings = self.clip.embed_image(pixels)
            wanted = labels(scenes[part])
            right = correct(logits, wanted.to(self.device)).cpu()
            scores = clip_scores(self.clip, embeddings, captions[part]).cpu()
            parts.append(Opinion(features.cpu(), embeddings.cpu(), scores, Composition(right, wanted)))
        return merged(parts)
