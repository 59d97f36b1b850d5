"""What the rest of the harness knows of a text-to-image pipeline."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from harness.errors import HarnessError, unknown
from harness.targets import TARGETS


@dataclass(frozen=True)
class Protocol:
    """How pictures are made: everything of a workload but the model and the captions."""

    num_inference_steps: int
    guidance_scale: float
    latent_seed: int


@dataclass(frozen=True)
class Target:
    """A loaded pipeline.

    components: the prunable modules by name, in evaluation mode, on `device`. digest: over the weight files.
    """

    name: str
    pipeline: Any
    components: dict[str, Any]
    protocol: Protocol
    digest: str
    device: torch.device

    @property
    def denoiser(self) -> Any:
        """Return the module that denoises: the U-Net, or the transformer in its place."""
        return self.components.get("unet") or self.components["transformer"]

    @property
    def dtype(self) -> torch.dtype:
        """Return what the denoiser computes in: the dtype of most of its parameters, a few may be kept in float32."""
        sizes: Counter[torch.dtype] = Counter()
        for parameter in self.denoiser.parameters():
            sizes[parameter.dtype] += parameter.numel()
        return sizes.most_common(1)[0][0]


def load(name: str, device: torch.device) -> Target:
    """Load the target called `name` onto `device`. Raises HarnessError for a name that is not in `TARGETS`."""
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    module, function = TARGETS[name].split(":")
    loader: Callable[[torch.device], Target] = getattr(importlib.import_module(module), function)
    return loader(device)


def quiet() -> None:
    """Switch off diffusers' and transformers' own progress bars, and a warning about what is not used."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    # Nothing here processes pictures with it: call this before a pipeline class is imported.
    logging.getLogger("transformers.utils.import_utils").addFilter(_not_about_torchvision)


def _not_about_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the GPU where there is one, else the CPU.

    Switches TF32 off: its products are rounded to 10 bits, and figures of two cards would not compare. Raises
    HarnessError for a device that torch does not know or cannot use here.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise HarnessError(f"device {name!r} cannot be used here ({reason}); leave --device out, or say cpu") from error
    return device
