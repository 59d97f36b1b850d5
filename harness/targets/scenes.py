"""The embedded model as a target: its files are checked against the digests of the model card before they load."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError

from harness.errors import HarnessError
from harness.scenes.weights import PIPELINE, verified
from harness.targets.base import Protocol, Target, quiet

PROTOCOL = Protocol(num_inference_steps=8, guidance_scale=3.0, latent_seed=20241117)


def load(device: torch.device, folder: Path | None = None) -> Target:
    """Load `scenes` in float32. Raises HarnessError where a file is missing or differs from the model card."""
    digests = verified(folder)
    return from_folder((folder or PIPELINE.parent) / PIPELINE.name, device, digest=digests["pipeline"])


def from_folder(pipeline_folder: Path, device: torch.device, digest: str) -> Target:
    """Load a pipeline of the family of `scenes` from a folder that diffusers wrote, without checking any digest."""
    quiet()
    from diffusers import StableDiffusionPipeline
    from diffusers.models.attention_processor import AttnProcessor

    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            pipeline_folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
        ).to(device)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise HarnessError(f"{pipeline_folder} is no pipeline of this family ({reason})") from error
    pipeline.set_progress_bar_config(disable=True)
    if device.type == "cpu":
        # The fused CPU attention is slower than plain products at 64 and 16 tokens.
        pipeline.unet.set_attn_processor(AttnProcessor())
    components = {name: getattr(pipeline, name).eval() for name in ("text_encoder", "unet")}
    return Target("scenes", pipeline, components, PROTOCOL, digest, device)
