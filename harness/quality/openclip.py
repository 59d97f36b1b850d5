"""A CLIP of open_clip as the judge of real pictures: the second family, for models whose text encoder is the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from harness import digests
from harness.errors import HarnessError, unknown
from harness.quality.vision import Judge


class OpenClipJudge(Judge):
    """An architecture that open_clip knows by name. digest: of the name, the weights file and the preprocessing."""

    def __init__(self, architecture: str, weights: str, device: torch.device) -> None:
        """Load it in float32.

        weights: a safetensors file, or a pretrained tag of open_clip, which is downloaded once, with the preprocessing
        of the tag; a file has the architecture's. Raises HarnessError for an unknown name, for weights that are a
        pickle or do not fit, and where open_clip cannot be imported.
        """
        try:
            import open_clip
        except (ImportError, RuntimeError) as error:
            raise HarnessError(
                f"open_clip cannot be imported ({error}): torch and torchvision must be builds of one kind"
            ) from error
        if architecture not in open_clip.list_models():
            raise unknown("architecture of open_clip", architecture, open_clip.list_models())
        about: dict[str, Any] = {}
        path = Path(weights)
        if not path.is_file():
            about = _pretrained(open_clip, architecture, weights)
            path = _downloaded(open_clip, about, weights)
        names = ("mean", "std", "interpolation", "resize_mode")
        try:
            model, _, self.preprocess = open_clip.create_model_and_transforms(
                architecture, pretrained=str(path), precision="fp32", **{f"image_{n}": about.get(n) for n in names}
            )
            self.tokenizer: Any = open_clip.get_tokenizer(architecture)
        except (AssertionError, OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise HarnessError(f"the scorer {architecture} cannot be loaded from {path} ({reason})") from error
        super().__init__(model, device)
        preprocess = {k: list(v) if isinstance(v, tuple) else v for k, v in model.visual.preprocess_cfg.items()}
        self.digest = digests.of_value(
            {"open_clip": architecture, "weights": digests.of_file(path), "preprocess": preprocess}
        )

    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """As in `Judge`."""
        from PIL import Image

        return torch.stack([self.preprocess(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])

    def embed_images(self, pixels: Tensor) -> Tensor:
        """As in `Judge`."""
        found: Tensor = self.model.encode_image(pixels)
        return found

    def embed_captions(self, captions: list[str]) -> Tensor:
        """As in `Judge`."""
        found: Tensor = self.model.encode_text(self.tokenizer(captions).to(self.device))
        return found


def _pretrained(open_clip: Any, architecture: str, tag: str) -> dict[str, Any]:
    """Return what open_clip knows of a tag. Raises HarnessError for one that the architecture does not have."""
    about: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag)
    if not about:
        raise unknown(f"weights of {architecture}", tag, open_clip.list_pretrained_tags_by_model(architecture))
    other = bool(about.get("quick_gelu"))
    if other != bool(open_clip.get_model_config(architecture).get("quick_gelu")):
        better = f"{architecture}-quickgelu" if other else architecture.removesuffix("-quickgelu")
        raise HarnessError(f"{tag} was trained with another activation than {architecture} has: give {better}:{tag}")
    return about


def _downloaded(open_clip: Any, about: dict[str, Any], tag: str) -> Path:
    try:
        path = Path(open_clip.download_pretrained(about))
    except (OSError, RuntimeError) as error:
        raise HarnessError(f"the weights {tag} cannot be downloaded ({error}); give a safetensors file") from error
    if path.suffix != ".safetensors":
        raise HarnessError(
            f"open_clip has {tag} only as a pickle ({path.name}): give a safetensors file or another tag"
        )
    return path
