"""Stable Diffusion 2-base with seeded random weights: the true size for speed, memory and arithmetic, no download."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from harness import digests
from harness.targets.spec import TargetSpec
from harness.targets.target import Target, quiet, wrap

SEED = 2
# From the public configuration of Stable Diffusion 2-base.
UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
TEXT_ENCODER = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
    "projection_dim": 512,
    "hidden_act": "gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}


def load(device: torch.device, spec: TargetSpec) -> Target:
    """Build the pipeline in float32. The U-Net has 866 M parameters, the text encoder 340 M; all takes 4.9 GB."""
    quiet()
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(**AUTOENCODER),
            text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER)),
            tokenizer=_tokenizer(),
            unet=UNet2DConditionModel(**UNET),
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).to(device)
    digest = digests.of_value([SEED, UNET, TEXT_ENCODER, AUTOENCODER, torch.__version__.split("+")[0]])
    return wrap(spec.name, pipeline, digest, device)


def _tokenizer() -> Any:
    """Return a CLIP tokenizer that knows single characters only. Untrained weights do not understand words anyway."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(33, 127)]
    vocabulary = {token: i for i, token in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    with tempfile.TemporaryDirectory() as folder:
        words, merges = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        words.write_text(json.dumps(vocabulary))
        merges.write_text("#version: 0.2\n")
        return CLIPTokenizer(str(words), str(merges), model_max_length=77)
