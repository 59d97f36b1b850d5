"""A CLIP of open_clip as the scorer: the second family, for models whose text encoder is of the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from harness import digests
from harness.errors import HarnessError, reason, unknown
from harness.loaded import Fit, check_finite
from harness.metrics.scorers.clip import ClipScorer
from harness.targets import headers


class OpenClip(ClipScorer):
    """An architecture that open_clip knows by name."""

    def __init__(self, architecture: str, weights: str, device: torch.device) -> None:
        """Load it in float32.

        Args:
            architecture: A name of open_clip, such as "ViT-B-32".
            weights: A safetensors file, or a pretrained tag of open_clip, which is downloaded once. A tag brings its
                own preprocessing; a file gets the architecture's.
            device: Where it runs.

        Raises:
            HarnessError: A name is unknown, the weights are no safetensors or do not fit, or open_clip cannot be
                imported.
        """
        try:
            import open_clip
        except (ImportError, RuntimeError) as error:
            raise HarnessError(
                f"--scorer open_clip: the package cannot be imported ({error}); install torch and torchvision from the "
                "same index"
            ) from error
        if architecture not in open_clip.list_models():
            raise unknown("--scorer open_clip: architecture", architecture, open_clip.list_models())
        about: dict[str, Any] = {}
        path = Path(weights)
        if not path.is_file():
            about = _pretrained(open_clip, architecture, weights)
            path = _downloaded(open_clip, about, weights)
        try:
            stored = headers.read(path)
        except HarnessError as error:
            raise HarnessError(f"--scorer open_clip:{architecture}: {error}") from error
        names = ("mean", "std", "interpolation", "resize_mode")
        try:
            model, _, self.preprocess = open_clip.create_model_and_transforms(
                architecture, pretrained=str(path), precision="fp32", **{f"image_{n}": about.get(n) for n in names}
            )
            self.tokenizer: Any = open_clip.get_tokenizer(architecture)
        except (AssertionError, OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise HarnessError(
                f"--scorer open_clip: {architecture} cannot be loaded from {path} ({reason(error)}); give weights of "
                "this architecture"
            ) from error
        name = f"--scorer open_clip:{architecture}:{weights}"
        _check_positions(model, stored, name)
        check_finite({"": model}, name)
        preprocess = {k: list(v) if isinstance(v, tuple) else v for k, v in model.visual.preprocess_cfg.items()}
        digest = digests.of_value(
            {"open_clip": architecture, "weights": digests.of_file(path), "preprocess": preprocess}
        )
        super().__init__(model, digest, device)

    def pixels(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the network's input; see `ClipScorer`."""
        from PIL import Image

        return torch.stack([self.preprocess(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return one vector per picture; see `ClipScorer`."""
        vectors: Tensor = self.model.encode_image(pixels)
        return vectors

    def embed_captions(self, captions: list[str]) -> Tensor:
        """Return one vector per caption; see `ClipScorer`."""
        vectors: Tensor = self.model.encode_text(self.tokenizer(captions).to(self.device))
        return vectors


def _check_positions(model: torch.nn.Module, stored: Mapping[str, headers.Stored], what: str) -> None:
    """Raise HarnessError where positional embeddings have another shape than the network's.

    open_clip resizes them without a word, and the network then scores pictures or captions of another size. It fails by
    itself over all other tensors.

    Args:
        model: The loaded network.
        stored: The tensors of its file. A text tower may have the prefix "text." in the network only.
        what: The name of the network. The message starts with it.
    """
    state = model.state_dict()
    misshapen = []
    for name, tensor in stored.items():
        inside = state.get(name, state.get(f"text.{name}"))
        if name.endswith("positional_embedding") and inside is not None and tensor.shape != tuple(inside.shape):
            misshapen.append((name, tensor.shape, tuple(inside.shape)))
    Fit((), (), misshapen).check(what)


def _pretrained(open_clip: Any, architecture: str, tag: str) -> dict[str, Any]:
    """Return open_clip's configuration of a tag. Raises HarnessError where the architecture does not have the tag."""
    about: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag)
    if not about:
        known = open_clip.list_pretrained_tags_by_model(architecture)
        raise unknown(f"--scorer open_clip:{architecture}: tag", tag, known)
    other = bool(about.get("quick_gelu"))
    if other != bool(open_clip.get_model_config(architecture).get("quick_gelu")):
        better = f"{architecture}-quickgelu" if other else architecture.removesuffix("-quickgelu")
        raise HarnessError(
            f"--scorer open_clip:{architecture}:{tag}: the weights were trained with another activation; give "
            f"open_clip:{better}:{tag}"
        )
    return about


def _downloaded(open_clip: Any, about: dict[str, Any], tag: str) -> Path:
    try:
        path = Path(open_clip.download_pretrained(about))
    except (OSError, RuntimeError) as error:
        raise HarnessError(
            f"--scorer open_clip: the weights {tag} cannot be downloaded ({error}); give a safetensors file"
        ) from error
    if path.suffix != ".safetensors":
        raise HarnessError(
            f"--scorer open_clip: {tag} exists only as a pickle ({path.name}), which may run code; give a safetensors "
            "file or another tag"
        )
    return path
