"""The Inception features that published FID and KID are measured with, through torch-fidelity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness import digests
from harness.errors import HarnessError, reason
from harness.loaded import check_finite, unpickled
from harness.metrics.weight_files import downloaded

BATCH = 64
LAYER = "2048"


class Inception:
    """Inception v3 as in the first FID code: pictures are resized to 299 as TensorFlow 1 did, bilinear, no antialias.

    An `Extractor`.
    """

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        """Load the network.

        Args:
            weights: torch-fidelity's file (.pth), or the same tensors as safetensors; None: torch-fidelity's file,
                which is downloaded once.
            device: Where it runs.

        Raises:
            HarnessError: The weights do not fit or hold more than tensors, or torch-fidelity cannot be imported.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:
            raise HarnessError(
                f"--features inception: torch-fidelity cannot be imported ({error}); install torch and torchvision "
                "from the same index"
            ) from error
        path = weights if weights is not None else _downloaded(URL_INCEPTION_V3)
        try:
            state = load_file(path) if path.suffix == ".safetensors" else unpickled(path)
            # torch-fidelity unpickles its file, so give it a file of tensors only.
            tensors = io.BytesIO()
            torch.save(state, tensors)
            tensors.seek(0)
            network: Any = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=tensors)
        except (OSError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
            raise HarnessError(
                f"--features inception: the weights {path} cannot be loaded ({reason(error)}); give torch-fidelity's "
                "file with inception:FILE"
            ) from error
        check_finite({"": network}, f"--features inception: {path}", "give torch-fidelity's file")
        self.network, self.device = network.to(device), device
        about = {"inception": LAYER, "resize": "299 bilinear tensorflow1"}
        self._digest = digests.of_value(about | {"weights": digests.of_tensors(sorted(state.items()))})

    @property
    def digest(self) -> str:
        """Return the digest of the weights, the layer and how pictures are resized."""
        return self._digest

    @torch.inference_mode()
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the pooled features of pictures, float32 `[n, 2048]`; see `Extractor`."""
        pooled = torch.empty(len(images), int(LAYER))
        sizes: dict[torch.Size, list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(i)
        for alike in sizes.values():
            for start in range(0, len(alike), BATCH):
                part = alike[start : start + BATCH]
                (out,) = self.network(torch.stack([images[i] for i in part]).to(self.device))
                pooled[part] = out.cpu()
        return pooled


def _downloaded(url: str) -> Path:
    return downloaded(
        url,
        lambda error, _: (
            f"--features inception: the weights cannot be downloaded ({error}); fetch {url} on another machine and "
            "give --features inception:FILE"
        ),
    )
