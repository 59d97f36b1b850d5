"""DINOv2 features: `--features dinov2:DIR`. FID on them is FD-DINOv2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from harness import digests
from harness.errors import HarnessError, reason
from harness.loaded import check_finite
from harness.targets import layout, loading

BATCH = 64
# Pictures are as high and as wide as in FD-DINOv2.
SIDE = 224
# ImageNet's mean and standard deviation of red, green and blue, with which DINOv2 was trained.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dinov2:
    """DINOv2's class token behind the last norm, of pictures of 224 × 224 (Stein et al., arXiv 2306.04675, section 3).

    An `Extractor`. Pictures are resized bicubic by Pillow, with antialiasing, and not cropped, as the authors' code
    does. The folder's own preprocessing, which crops, is not read.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load the network in float32.

        Args:
            folder: Holds a Dinov2Model: configuration, and weights as safetensors.
            device: Where it runs.

        Raises:
            HarnessError: The folder holds no such network, or a tensor does not fit or is not finite.
        """
        from transformers import Dinov2Model

        name = f"--features dinov2:{folder}"
        advice = "name a folder that transformers saved from a Dinov2Model"
        if layout.content_of(folder / "config.json").get("model_type") != "dinov2":
            raise HarnessError(f"{name} holds no DINOv2; {advice}")
        try:
            model = loading.component(Dinov2Model, folder, layout.loaded_of(folder, None), torch.float32, name)
        except (OSError, ArithmeticError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
            raise HarnessError(f"{name} cannot be loaded ({reason(error)}); {advice}") from error
        check_finite({"": model}, name, advice)
        self._model: Any = model.eval().to(device)
        self._device = device
        files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
        self._digest = digests.of_value(["dinov2", *(digests.of_file(path) for path in files)])

    @property
    def digest(self) -> str:
        """Return the digest of weights and configuration."""
        return self._digest

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the class tokens of pictures; see `Extractor`."""
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = torch.stack([prepared(image) for image in images[start : start + BATCH]])
            parts.append(self._model(pixel_values=pixels.to(self._device)).pooler_output.float().cpu())
        return torch.cat(parts)


def prepared(image: Tensor) -> Tensor:
    """Return a picture, uint8 `[3, h, w]`, as the network's input, float32 `[3, 224, 224]`."""
    from harness.png import resized

    pixels = torch.frombuffer(bytearray(resized(image, SIDE).tobytes()), dtype=torch.uint8)
    plain = pixels.view(SIDE, SIDE, 3).permute(2, 0, 1).float() / 255
    return (plain - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
