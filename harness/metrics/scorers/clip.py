"""CLIPs as scorers of real pictures: CLIP score, drift, and features for FID and KID."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize

from harness import digests
from harness.errors import HarnessError, reason
from harness.loaded import check_finite
from harness.metrics import clip
from harness.metrics.evidence import Evidence, merged
from harness.metrics.scorers.scorer import Scorer, none_degenerate
from harness.targets import layout, loading

BATCH = 64
# The files of a folder that a CLIP's figures depend on.
SUFFIXES = (".json", ".safetensors", ".txt")
_ADVICE = "save the CLIP again with its own processor and tokenizer"


class ClipScorer(Scorer):
    """A CLIP with its own preprocessing (PIL) and tokenizer."""

    def __init__(self, model: Any, digest: str, device: torch.device) -> None:
        """Put the network on its device.

        Args:
            model: The network, in float32.
            digest: See `Scorer.digest`.
            device: Where it runs.
        """
        self.model, self.device, self._digest = model.eval().to(device), device, digest

    @property
    def digest(self) -> str:
        """Return the digest of the weights, the preprocessing and the tokenizer."""
        return self._digest

    @abstractmethod
    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the network's input: pictures, uint8 `[3, h, w]` each, as float32 `[n, 3, size, size]`."""

    @abstractmethod
    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return one vector per picture, not normalised: `[n, d]`."""

    @abstractmethod
    def embed_captions(self, captions: list[str]) -> Tensor:
        """Return one vector per caption, not normalised: `[n, d]`. Captions are cut to the CLIP's longest text."""

    def refuse(self, encoder: torch.nn.Module) -> None:
        """Raise HarnessError where a text encoder that is under test is also the scorer's own.

        Compares token embeddings, and allows for rounding to half precision.
        """
        ours = max((m.weight for m in self.model.modules() if isinstance(m, torch.nn.Embedding)), key=len).float()
        for module in encoder.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, torch.nn.Embedding) and isinstance(weight, Tensor) and weight.shape == ours.shape:
                if torch.allclose(weight.to(ours), ours, rtol=1e-2, atol=1e-4):
                    raise HarnessError(
                        "--scorer has the text encoder that is pruned and would score itself; give a CLIP of another "
                        "family"
                    )

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the CLIP's vectors of pictures, not normalised; see `Extractor`."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return torch.cat([self.embed_images(self.pixels(part).to(self.device)).cpu() for part in parts])

    @torch.inference_mode()
    def look(self, images: Tensor, captions: Sequence[str]) -> Evidence:
        """Score pictures against their captions, 64 at a time; see `Scorer`."""
        parts = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            features = self.features(images[part])
            embeddings, texts = normalize(features), normalize(self.embed_captions(list(captions[part])).cpu())
            scores = clip.clip_scores(embeddings, texts)
            parts.append(Evidence(features, embeddings, scores, none_degenerate(features)))
        return merged(parts)


class TransformersClip(ClipScorer):
    """A CLIP in a folder that transformers saved."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load it in float32.

        Args:
            folder: Holds configuration, weights as safetensors, tokenizer and preprocessing.
            device: Where it runs.

        Raises:
            HarnessError: The folder holds no CLIP as safetensors, a tensor does not fit or is not finite, or the
                preprocessing or the tokenizer is of another CLIP.
        """
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
            raise HarnessError(
                f"--scorer {folder} holds no CLIP; name a folder with config.json and safetensors, as transformers "
                "saves it"
            )
        try:
            files = layout.loaded_of(folder, None)
            model = loading.component(CLIPModel, folder, files, torch.float32, f"--scorer {folder}")
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.processor: Any = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ArithmeticError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
            raise HarnessError(
                f"--scorer {folder} cannot be loaded ({reason(error)}); save the CLIP again with transformers"
            ) from error
        check_finite({"": model}, f"--scorer {folder}")
        contents = {p.name: digests.of_file(p) for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES}
        self._check_inputs(model, folder)
        super().__init__(model, digests.of_value(contents), device)

    def _check_inputs(self, model: Any, folder: Path) -> None:
        """Raise HarnessError where the network cannot read what the preprocessing or the tokenizer writes."""
        wanted = model.config.vision_config.image_size
        try:
            # The picture is wider than it is high, because a preprocessing without a crop keeps such a shape.
            made = list(self.pixels(torch.zeros(1, 3, 24, 32, dtype=torch.uint8)).shape[2:])
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise HarnessError(
                f"--scorer {folder}: preprocessor_config.json cannot prepare a picture ({reason(error)}); {_ADVICE}"
            ) from error
        if made != [wanted, wanted]:
            raise HarnessError(
                f"--scorer {folder}: preprocessor_config.json makes pictures of {made[0]} × {made[1]}, and the CLIP "
                f"reads {wanted} × {wanted}; {_ADVICE}"
            )
        rows, last = model.config.text_config.vocab_size, max(self.tokenizer.get_vocab().values())
        if last >= rows:
            raise HarnessError(
                f"--scorer {folder}: the tokenizer has token {last}, and the CLIP knows {rows} tokens only; {_ADVICE}"
            )

    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the network's input; see `ClipScorer`."""
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        prepared: Tensor = self.processor(images=arrays, return_tensors="pt")["pixel_values"]
        return prepared

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return one vector per picture; see `ClipScorer`."""
        return _tensor(self.model.get_image_features(pixel_values=pixels))

    def embed_captions(self, captions: list[str]) -> Tensor:
        """Return one vector per caption; see `ClipScorer`."""
        tokens = self.tokenizer(
            captions, padding=True, truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings, return_tensors="pt",
        ).to(self.device)  # fmt: skip
        return _tensor(
            self.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        )


def _tensor(out: Any) -> Tensor:
    vectors: Tensor = getattr(out, "pooler_output", out)
    return vectors
