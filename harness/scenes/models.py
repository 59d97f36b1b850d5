"""Build the untrained components of `scenes`: small ones of the same kinds as in Stable Diffusion 2."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.scenes.captions import sample_captions

TOKENS = 24
LATENT_SIDE = 16

# Widths and depths. The shipped model is "small"; the same commands train every preset.
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "autoencoder": (16, 32, 64),
        "text": {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "layers": 7},
        "unet": {"channels": (64, 96, 128), "heads": (2, 4, 4), "layers_per_block": 1},
    },
    "large": {
        "autoencoder": (16, 32, 64),
        "text": {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 8, "layers": 7},
        "unet": {"channels": (128, 192, 256), "heads": (4, 8, 8), "layers_per_block": 1},
    },
}


def build_tokenizer(folder: Path) -> Any:
    """Train a byte-pair vocabulary on 3,000 training captions, or load the one that the folder has.

    The end-of-text id is 1. With id 2, transformers would pool a CLIP text model at the largest id, not at the end.
    Two trained vocabularies number some letters differently, so a training that resumes must not train it again.

    Args:
        folder: Where the tokenizer is saved.

    Returns:
        A `CLIPTokenizer`.

    Raises:
        HarnessError: The folder has a damaged tokenizer.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    if (folder / "tokenizer.json").is_file():
        try:
            return CLIPTokenizer.from_pretrained(folder)
        except Exception as error:
            # The tokenizers library raises nothing narrower.
            raise HarnessError(f"{folder} holds a damaged tokenizer ({error}); remove the folder") from error
    special = ["<|startoftext|>", "<|endoftext|>"]
    bpe = Tokenizer(models.BPE(unk_token=special[1], end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator([caption for caption, _ in sample_captions(3000, 1, "train")], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = bpe.model.save(str(folder))
    tokenizer = CLIPTokenizer(vocabulary, merges, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def build_text_encoder(preset: str, tokenizer: Any) -> Any:
    """Return an untrained `CLIPTextModel`. It has one layer more than the pipeline gets: see `stages.TextEncoder`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    shape = PRESETS[preset]["text"]
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape["hidden_size"],
            intermediate_size=shape["intermediate_size"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["num_attention_heads"],
            max_position_embeddings=TOKENS,
            projection_dim=128,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_autoencoder(preset: str) -> Any:
    """Return an untrained `AutoencoderKL`: pictures are `[n, 3, 64, 64]`, latents `[n, 4, 16, 16]`."""
    from diffusers import AutoencoderKL

    channels = PRESETS[preset]["autoencoder"]
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def build_unet(preset: str) -> Any:
    """Return an untrained `UNet2DConditionModel` with attention at 8×8 and 4×4, and without attention at 16×16."""
    from diffusers import UNet2DConditionModel

    shape = PRESETS[preset]["unet"]
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=shape["channels"],
        layers_per_block=shape["layers_per_block"],
        cross_attention_dim=PRESETS[preset]["text"]["hidden_size"],
        attention_head_dim=shape["heads"],
        norm_num_groups=16,
        use_linear_projection=True,
    )


def build_scheduler() -> Any:
    """Return the pipeline's scheduler: v-prediction, scaled-linear betas, trailing spacing."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )


class ImageTower(nn.Module):
    """The image side of the text encoder's contrastive training. The pipeline does not contain it."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 128)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, 1, 1), nn.GroupNorm(8, b)
            )
            for a, b in pairwise(widths)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(128 * 16, 256), nn.SiLU(), nn.Linear(256, 128))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return embeddings `[n, 128]` of pictures `[n, 3, 64, 64]` in [-1, 1]."""
        for stage in self.stages:
            pixels = nn.functional.silu(stage(pixels))
        embeddings: torch.Tensor = self.head(pixels)
        return embeddings
