"""Small pipelines of every family, randomly initialised: built, never downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.targets.sd2_untrained import _tokenizer as clip_tokenizer

if TYPE_CHECKING:
    from harness.targets.spec import TargetSpec
    from harness.targets.target import Target

CLIP = {
    "vocab_size": 49408, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 77, "projection_dim": 32, "bos_token_id": 49406, "eos_token_id": 49407,
    "pad_token_id": 49407,
}  # fmt: skip
UNET = {
    "sample_size": 8, "block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32, "attention_head_dim": 4,
}  # fmt: skip


def autoencoder(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=8, sample_size=16,
        **more,
    )  # fmt: skip


def stable_diffusion(prediction: str, linear: bool) -> Any:
    """Return Stable Diffusion 1.x (convolutions project in attention) or 2.x (linear layers do)."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP)), tokenizer=clip_tokenizer(),
        unet=UNet2DConditionModel(**UNET, use_linear_projection=linear),
        scheduler=DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    unet = UNET | {"cross_attention_dim": 64, "addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    return StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**CLIP)),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(),
        unet=UNet2DConditionModel(
            **unet, projection_class_embeddings_input_dim=32 + 6 * 8, use_linear_projection=True
        ),
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )  # fmt: skip


def words(ends: bool) -> Any:
    """Return a tokenizer that knows the letters a to z. ends: whether a text ends with "</s>", as for T5."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters += [(chr(c), -3.0) for c in range(ord("a"), ord("z") + 1)]
    tokenizer = Tokenizer(models.Unigram(letters, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


LETTERS = 30


def t5() -> tuple[Any, Any]:
    """Return a text encoder and its tokenizer."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    shape = {"vocab_size": LETTERS, "d_model": 64, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    tokenizer = T5TokenizerFast(tokenizer_object=words(True), eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    return T5EncoderModel(T5Config(**shape, feed_forward_proj="gated-gelu")), tokenizer


def stable_diffusion_3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, out_channels=4,
        pos_embed_max_size=16,
    )  # fmt: skip
    vae = autoencoder(shift_factor=0.06)
    clips = [CLIPTextModelWithProjection(CLIPTextConfig(**CLIP)) for _ in range(2)]
    encoder, tokenizer = t5()
    return StableDiffusion3Pipeline(
        transformer=transformer, vae=vae, text_encoder=clips[0], text_encoder_2=clips[1], text_encoder_3=encoder,
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(), tokenizer_3=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def pixart(sigma: bool) -> Any:
    """Return PixArt-Sigma, or PixArt-alpha, whose released scheduler is the one here."""
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    transformer = PixArtTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=8, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, cross_attention_dim=32, caption_channels=64, norm_num_groups=8,
        use_additional_conditions=False,
    )  # fmt: skip
    encoder, tokenizer = t5()
    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=tokenizer, text_encoder=encoder, vae=autoencoder(), transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def sana() -> Any:
    from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizerFast

    transformer = SanaTransformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, num_cross_attention_heads=4, cross_attention_head_dim=8, cross_attention_dim=32,
        caption_channels=32,
    )  # fmt: skip
    block_types, scales = ("ResBlock", "EfficientViTBlock"), ((), (5,))
    decoder = AutoencoderDC(
        latent_channels=4, attention_head_dim=8, encoder_block_types=block_types, decoder_block_types=block_types,
        encoder_block_out_channels=(16, 32), decoder_block_out_channels=(16, 32), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=scales, decoder_qkv_multiscales=scales,
    )  # fmt: skip
    gemma = Gemma2Config(
        vocab_size=LETTERS, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return SanaPipeline(
        tokenizer=GemmaTokenizerFast(
            tokenizer_object=words(False), pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<unk>"
        ),
        text_encoder=Gemma2Model(gemma), vae=decoder, transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd1": lambda: stable_diffusion("epsilon", linear=False),
    "sd2": lambda: stable_diffusion("epsilon", linear=True),
    "sd2_v": lambda: stable_diffusion("v_prediction", linear=True),
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "pixart_alpha": lambda: pixart(sigma=False),
    "pixart_sigma": lambda: pixart(sigma=True),
    "sana": sana,
}
COMPONENTS = {
    "sd1": ["text_encoder", "unet"],
    "sd2": ["text_encoder", "unet"],
    "sd2_v": ["text_encoder", "unet"],
    "sdxl": ["text_encoder", "text_encoder_2", "unet"],
    "sd3": ["text_encoder", "text_encoder_2", "text_encoder_3", "transformer"],
    "pixart_alpha": ["text_encoder", "transformer"],
    "pixart_sigma": ["text_encoder", "transformer"],
    "sana": ["text_encoder", "transformer"],
}


def seeded(family: str) -> Any:
    """Return a pipeline whose weights are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FAMILIES[family]()


def save_clip_scorer(folder: Path, seed: int = 1, dropout: float = 0.0) -> None:
    """Save a small CLIP, randomly initialised, as transformers does. dropout: of its attention, while training."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision |= {"image_size": 16, "patch_size": 4}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        text, vision = ({**part, "attention_dropout": dropout} for part in (CLIP, vision))
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    size = {"height": 16, "width": 16}
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size).save_pretrained(folder)


def save_coco(path: Path, images: int) -> None:
    """Write annotations in COCO's format: two captions of every image, in an order of no meaning."""
    colours, things = ("red", "green", "blue", "black"), ("dog", "cat", "bus", "cup", "kite")
    annotations = [
        {"id": 7 * i + k, "image_id": 1000 + i, "caption": f"A {colours[(i + k) % 4]} {things[i % 5]} number {i}. "}
        for k in range(2)
        for i in range(images)
    ]
    path.write_text(json.dumps({"info": {}, "images": [], "annotations": annotations}))


def save_pictures(folder: Path, count: int) -> None:
    """Write noise as PNG files of different sizes."""
    import numpy
    from PIL import Image

    rng = numpy.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (20 + i % 3, 24, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")


def tiny(device: torch.device, spec: TargetSpec) -> Target:
    """Build a target of this file, as those of `TARGETS` are."""
    from harness.targets.target import wrap

    return wrap(spec.name, seeded("sd2").to(device), "digest", device)
