"""The embedded model as a target. Its files are compared with the digests of the model card before they load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError
from harness.scenes.weights import PIPELINE, check, verified
from harness.targets import layout, loading
from harness.targets.families import family_of
from harness.targets.spec import PROTOCOLS, TargetSpec
from harness.targets.target import Target

# The class that training writes.
CLASS = "StableDiffusionPipeline"


def load(device: torch.device, spec: TargetSpec) -> Target:
    """Load `scenes` in float32: the shipped weights, or those of `spec.weights`.

    Raises:
        HarnessError: A file is missing or differs from the folder's `digests.json`, or a folder holds another pipeline.
    """
    if spec.weights is None:
        return from_folder(PIPELINE, device, verified()["pipeline"])
    return from_folder(spec.weights / "pipeline", device, check(spec.weights, ("pipeline",))["pipeline"])


def from_folder(pipeline_folder: Path, device: torch.device, digest: str) -> Target:
    """Load a pipeline of the same kind as `scenes`. Its files are not compared with any digests.

    Args:
        pipeline_folder: A folder that diffusers wrote.
        device: The device to load it on.
        digest: The digest of the files, for `Target.digest`.

    Raises:
        HarnessError: The folder holds no such pipeline.
    """
    try:
        layout.check(pipeline_folder)
        kind = layout.content_of(pipeline_folder / layout.INDEX).get("_class_name")
        if kind != CLASS:
            raise HarnessError(f"the pipeline is a {kind}, not a {CLASS}")
        pipeline = loading.pipeline(pipeline_folder, torch.float32, None).to(device)
    except (HarnessError, RuntimeError) as error:
        raise HarnessError(f"{pipeline_folder} is no pipeline of scenes ({error}); train it again") from error
    pipeline.set_progress_bar_config(disable=True)
    plain_attention(pipeline, device)
    components = {name: getattr(pipeline, name).eval() for name in ("text_encoder", "unet")}
    family = family_of(type(pipeline).__name__)
    return Target("scenes", pipeline, components, family, PROTOCOLS["scenes"], digest, device)


def plain_attention(pipeline: Any, device: torch.device) -> None:
    """Let the U-Net of a pipeline like `scenes` compute attention as plain products, on a CPU.

    The fused attention of the CPU is slower at 64 and 16 tokens.
    """
    from diffusers.models.attention_processor import AttnProcessor

    if device.type == "cpu":
        pipeline.unet.set_attn_processor(AttnProcessor())
