"""A CLIP as the judge of real pictures: CLIP score, drift, and features for FID."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize

from harness import digests
from harness.errors import HarnessError
from harness.quality.judging import Opinion, merged

BATCH = 64
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


class Judge(ABC):
    """A CLIP with its own preprocessing (PIL) and tokenizer. digest: of all that its figures depend on."""

    digest: str

    def __init__(self, model: Any, device: torch.device) -> None:
        """model: its network in float32."""
        self.model, self.device = model.eval().to(device), device

    @abstractmethod
    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return what the network reads of pictures, uint8 `[3, h, w]` each: float32 `[n, 3, size, size]`."""

    @abstractmethod
    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return one vector per picture, not normalised: `[n, d]`."""

    @abstractmethod
    def embed_captions(self, captions: list[str]) -> Tensor:
        """Return one vector per caption, not normalised: `[n, d]`; captions are cut to what the CLIP reads."""

    def refuse(self, encoder: torch.nn.Module) -> None:
        """Raise HarnessError where the judge's text side is the encoder under test: it would judge itself.

        Known by the token embeddings, which either may have been rounded to half precision.
        """
        ours = max((m.weight for m in self.model.modules() if isinstance(m, torch.nn.Embedding)), key=len).float()
        for module in encoder.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, torch.nn.Embedding) and isinstance(weight, Tensor) and weight.shape == ours.shape:
                if torch.allclose(weight.to(ours), ours, rtol=1e-2, atol=1e-4):
                    raise HarnessError("the scorer has the text encoder that is pruned: give a CLIP of another family")

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return what the CLIP makes of pictures, uint8 `[3, h, w]` each: float32 `[n, d]` on the CPU."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return torch.cat([self.embed_images(self.pixels(part).to(self.device)).cpu() for part in parts])

    @torch.inference_mode()
    def look(self, images: Tensor, captions: Sequence[str]) -> Opinion:
        """Judge pictures, uint8 `[n, 3, h, w]`, against their captions."""
        parts = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            features = self.features(images[part])
            embeddings, text = normalize(features), normalize(self.embed_captions(list(captions[part])).cpu())
            parts.append(Opinion(features, embeddings, 100 * (embeddings * text).sum(1), None))
        return merged(parts)


class ClipJudge(Judge):
    """A CLIP in a folder that transformers saved. digest: of all its files."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load it in float32. Raises HarnessError where the folder holds no CLIP in safetensors."""
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
            raise HarnessError(f"{folder} holds no CLIP: wanted a folder with config.json and safetensors (--scorer)")
        try:
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.processor: Any = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise HarnessError(f"the scorer {folder} cannot be loaded ({reason})") from error
        super().__init__(model, device)
        files = {
            p.name: digests.of_file(p)
            for p in sorted(folder.iterdir())
            if p.suffix in (".json", ".safetensors", ".txt")
        }
        self.digest = digests.of_value(files)

    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """As in `Judge`."""
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        found: Tensor = self.processor(images=arrays, return_tensors="pt")["pixel_values"]
        return found

    def embed_images(self, pixels: Tensor) -> Tensor:
        """As in `Judge`."""
        return _tensor(self.model.get_image_features(pixel_values=pixels))

    def embed_captions(self, captions: list[str]) -> Tensor:
        """As in `Judge`."""
        tokens = self.tokenizer(
            captions, padding=True, truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings, return_tensors="pt",
        ).to(self.device)  # fmt: skip
        return _tensor(
            self.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        )


def _tensor(out: Any) -> Tensor:
    found: Tensor = getattr(out, "pooler_output", out)
    return found


def pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder and those below it. Raises HarnessError where there are fewer than two."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if len(found) < 2:
        raise HarnessError(f"{folder} holds {len(found)} pictures ({', '.join(PICTURES)}), wanted two or more")
    return found


def open_all(paths: Iterable[Path]) -> list[Tensor]:
    """Return pictures as uint8 `[3, h, w]` each. Raises HarnessError that names a file that is no picture."""
    import numpy
    from PIL import Image

    found = []
    for path in paths:
        try:
            array = numpy.asarray(Image.open(path).convert("RGB")).copy()
        except OSError as error:
            raise HarnessError(f"the picture {path} cannot be read ({error})") from error
        found.append(torch.from_numpy(array).permute(2, 0, 1))
    return found
