"""Load a pipeline from a local folder, as diffusers saves it: `model_index.json`, and safetensors per component."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.errors import HarnessError, reason
from harness.targets import layout, loading
from harness.targets.target import Target, wrap


def load(folder: Path, name: str, device: torch.device, dtype: torch.dtype | None = None) -> Target:
    """Load a text-to-image pipeline, all of its components in one dtype.

    Args:
        folder: A folder that `save_pretrained` of diffusers wrote.
        name: The pipeline's name in ids.
        device: The device to load it on.
        dtype: The dtype of all components; None: the dtype in which the U-Net or transformer is stored.

    Raises:
        HarnessError: The folder holds no pipeline of a known family, its safetensors are missing or incomplete, its
            parts do not fit each other, or it does not fit into memory.
    """
    layout.check(folder)
    layout.check_class(folder / layout.INDEX)
    weights = layout.weights_of(folder)
    variant = layout.variant_of(weights)
    dtype = dtype or layout.stored_dtype(weights, variant)
    try:
        pipeline = loading.pipeline(folder, dtype, variant).to(device)
    except RuntimeError as error:
        raise HarnessError(
            f"{device} cannot hold {folder} ({reason(error)}); choose another device, or --dtype float16"
        ) from error
    target = wrap(name, pipeline, layout.digest(folder), device)
    if target.dtype != dtype:
        # diffusers leaves the transformer of Stable Diffusion 3 in the dtype it was stored in.
        target.denoiser.to(dtype)
    return target
