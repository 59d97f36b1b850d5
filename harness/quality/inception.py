"""The Inception features that published FID and KID are measured with, through torch-fidelity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness import digests
from harness.errors import HarnessError

BATCH = 64
LAYER = "2048"


class Inception:
    """Inception v3 as in the first FID code: pictures are resized to 299 as TensorFlow 1 did, bilinear, no antialias.

    digest: of the weights, the layer and how pictures are resized.
    """

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        """weights: torch-fidelity's file (.pth) or the same as safetensors; None: that file, downloaded once.

        Raises HarnessError where they do not fit or hold more than tensors, or torch-fidelity cannot be imported.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:
            raise HarnessError(
                f"torch-fidelity cannot be imported ({error}): torch and torchvision must be builds of one kind"
            ) from error
        path = weights if weights is not None else _downloaded(URL_INCEPTION_V3)
        try:
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            # torch-fidelity would unpickle a file whatever it holds; it is given tensors only.
            tensors = io.BytesIO()
            torch.save(state, tensors)
            tensors.seek(0)
            network: Any = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=tensors)
        except (OSError, RuntimeError, TypeError, UnpicklingError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise HarnessError(f"the Inception weights {path} cannot be loaded ({reason})") from error
        self.network, self.device = network.to(device), device
        about = {"inception": LAYER, "resize": "299 bilinear tensorflow1"}
        self.digest = digests.of_value(about | {"weights": digests.of_tensors(sorted(state.items()))})

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the pooled features of pictures, uint8 `[3, h, w]` each: float32 `[n, 2048]` on the CPU."""
        found = torch.empty(len(images), int(LAYER))
        sizes: dict[torch.Size, list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(i)
        for alike in sizes.values():
            for start in range(0, len(alike), BATCH):
                part = alike[start : start + BATCH]
                (out,) = self.network(torch.stack([images[i] for i in part]).to(self.device))
                found[part] = out.cpu()
        return found


def _downloaded(url: str) -> Path:
    """Return where torch-fidelity keeps the file of a URL, after a download where it is not there yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The name ends with the first digits of the SHA-256.
            torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=False)
        except (OSError, RuntimeError) as error:
            raise HarnessError(
                f"the Inception weights cannot be downloaded ({error}); fetch {url} and give --features inception:FILE"
            ) from error
    return path
