"""The scorer of `scenes`: a network that reads what a picture shows, and a CLIP. Neither is part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness import digests
from harness.errors import HarnessError, reason
from harness.loaded import check_finite
from harness.metrics import clip
from harness.metrics.evidence import Composition, Evidence, merged
from harness.metrics.scorers.scorer import Scorer, none_degenerate
from harness.scenes.captions import Scene, held_out
from harness.scenes.judges import JudgeCLIP, Reader, correct, labels
from harness.scenes.render import SIDE

BATCH = 256
# The lists of captions whose scenes are known.
LISTS = ("evaluation", "combination")


class ScenesScorer(Scorer):
    """The reader gives features and composition, the CLIP gives embeddings and scores."""

    sees_composition = True

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load both networks in float32.

        Args:
            folder: Holds reader.safetensors and clip.safetensors, such as the folder `judges` of the weights.
            device: Where they run.

        Raises:
            HarnessError: A file is missing or damaged.
        """
        self.device, self._folder = device, folder
        self.reader, self.clip = Reader().eval().to(device), JudgeCLIP().eval().to(device)
        self._scenes: dict[str, Scene] = {caption: scene for name in LISTS for caption, scene in held_out(name)}
        for network, name in ((self.reader, "reader.safetensors"), (self.clip, "clip.safetensors")):
            try:
                network.load_state_dict(load_file(folder / name))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise HarnessError(
                    f"{folder / name} cannot be read ({reason(error)}); name a weights folder that `train-scenes` wrote"
                ) from error
            check_finite({"": network}, str(folder / name), "name a weights folder that `train-scenes` wrote")

    @property
    def digest(self) -> str:
        """Return the digest of the folder's files: that of the part "judges" of a weights folder."""
        names = sorted(path.name for path in self._folder.iterdir() if path.is_file())
        return digests.of_value({f"judges/{name}": digests.of_file(self._folder / name) for name in names})

    @torch.inference_mode()
    def look(self, images: Tensor, captions: Sequence[str]) -> Evidence:
        """Score pictures against captions of the held-out lists, 256 at a time; see `Scorer`.

        Raises:
            HarnessError: A caption is on no list, so its scene is unknown.
        """
        scenes = [self._scene(caption) for caption in captions]
        parts = []
        for first in range(0, len(images), BATCH):
            part = slice(first, first + BATCH)
            pixels = self._pixels(images[part])
            features, logits = self.reader(pixels)
            embeddings = self.clip.embed_image(pixels)
            wanted = labels(scenes[part])
            right = correct(logits, wanted.to(self.device)).cpu()
            texts = self.clip.embed_text(self.clip.tokens(list(captions[part])).to(self.device))
            parts.append(
                Evidence(
                    features.cpu(),
                    embeddings.cpu(),
                    clip.clip_scores(embeddings, texts).cpu(),
                    none_degenerate(pixels),
                    Composition(right, wanted),
                )
            )
        return merged(parts)

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the reader's features, float32 `[n, 128]`; see `Extractor`.

        Raises:
            HarnessError: Pictures of a folder have another size than those that the reader knows.
        """
        if not isinstance(images, Tensor):
            odd = next((picture for picture in images if picture.shape[1:] != (SIDE, SIDE)), None)
            if odd is not None:
                raise HarnessError(
                    f"--scorer scenes reads pictures of {SIDE} × {SIDE} pixels, and one picture has {odd.shape[2]} × "
                    f"{odd.shape[1]}; resize the pictures, or use another --scorer"
                )
        whole = images if isinstance(images, Tensor) else torch.stack([*images])
        return torch.cat([self.reader(self._pixels(part))[0].cpu() for part in torch.split(whole, BATCH)])

    def _pixels(self, images: Tensor) -> Tensor:
        return images.to(self.device).float() / 127.5 - 1

    def _scene(self, caption: str) -> Scene:
        if caption not in self._scenes:
            raise HarnessError(
                f"--scorer scenes knows the held-out captions of the target scenes only, and {caption!r} is none of "
                "them; use another --scorer for captions of your own"
            )
        return self._scenes[caption]
