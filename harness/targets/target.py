"""A loaded pipeline: what the rest of the harness knows of a text-to-image model."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.components import COMPONENTS, denoiser_of
from harness.errors import HarnessError
from harness.targets.families import Family, family_of
from harness.targets.spec import PROTOCOLS, Protocol


@dataclass(frozen=True)
class Target:
    """A loaded pipeline."""

    name: str
    """The name in ids."""
    pipeline: Any
    """The diffusers pipeline, on `device`."""
    components: dict[str, nn.Module]
    """Name of `COMPONENTS` → module that can be pruned, in evaluation mode."""
    family: Family
    """How the pipeline is called."""
    protocol: Protocol
    """How pictures are made."""
    digest: str
    """SHA-256 of everything that influences what the dense model computes."""
    device: torch.device
    """Where the modules are."""

    @property
    def denoiser(self) -> Any:
        """Return the module that denoises: the U-Net, or the transformer in its place."""
        return self.components[denoiser_of(self.components)]

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype that most of the denoiser's parameters have. A few may stay in float32."""
        sizes: Counter[torch.dtype] = Counter()
        for parameter in self.denoiser.parameters():
            sizes[parameter.dtype] += parameter.numel()
        return sizes.most_common(1)[0][0]


def wrap(name: str, pipeline: Any, digest: str, device: torch.device) -> Target:
    """Return the target of a loaded pipeline, with the protocol "paper".

    Args:
        name: The name in ids.
        pipeline: A diffusers pipeline, on the device. Its modules are put into evaluation mode.
        digest: SHA-256 of everything that influences what the pipeline computes.
        device: Where the pipeline is.

    Raises:
        HarnessError: The pipeline belongs to no family, lacks a text encoder or a denoiser, or its configuration does
            not give the latents the family's shape.
    """
    kind = type(pipeline).__name__
    family = family_of(kind)
    modules = {part: getattr(pipeline, part, None) for part in COMPONENTS}
    components = {part: module.eval() for part, module in modules.items() if isinstance(module, nn.Module)}
    if not {"unet", "transformer"} & components.keys() or not any(part.startswith("text") for part in components):
        has = f"only {', '.join(components)}" if components else "nothing"
        raise HarnessError(
            f"{name} cannot be used: this {kind} has {has} to prune; give a pipeline with a text encoder, and a unet "
            "or a transformer"
        )
    target = Target(name, pipeline, components, family, PROTOCOLS["paper"], digest, device)
    try:
        shape = family.latent_shape(target.denoiser.config)
    except KeyError as error:
        raise HarnessError(
            f"{name} cannot be used: the configuration of its {type(target.denoiser).__name__} has no "
            f"{error.args[0]}; give a pipeline whose latents have the shape of {family.name}"
        ) from error
    if not all(isinstance(size, int) for size in shape):
        raise HarnessError(
            f"{name} cannot be used: its latents have the shape {shape}; give a pipeline with square latents, or "
            "register a `Family` with another `latent_shape`"
        )
    pipeline.set_progress_bar_config(disable=True)
    return target


def quiet() -> None:
    """Switch off the progress bars of diffusers and transformers, and a warning about an unused library.

    Call it before a pipeline class is imported: the warning comes with the import.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    # The harness processes no pictures with torchvision.
    logging.getLogger("transformers.utils.import_utils").addFilter(_not_about_torchvision)


def _not_about_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()


def choose_device(name: str, option: str = "--device") -> torch.device:
    """Return a device that works, and switch TF32 off.

    TF32 keeps 10 bits of every factor, so two graphics cards would give different figures.

    Args:
        name: "cpu", "cuda", "cuda:1", …; "auto" is the GPU where there is one, else the CPU.
        option: The option that names the device, for the message.

    Raises:
        HarnessError: torch does not know the device or cannot use it here.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Some reasons go on with all that torch knows.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise HarnessError(f"{option} {name} cannot be used here ({reason}); leave it out, or use cpu") from error
    return device
