"""The families of pipelines: how their pipelines are called, and what their blocks are. One entry per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import HarnessError


def square(config: Any) -> tuple[int, ...]:
    """Return the shape of latents that are square: `in_channels`, then twice `sample_size`.

    Args:
        config: The configuration of a U-Net or transformer, as diffusers has it: name → value.
    """
    return config["in_channels"], config["sample_size"], config["sample_size"]


# Every text encoder reads the token ids of its own tokenizer.
TOKENIZERS = {
    "text_encoder": "tokenizer",
    "text_encoder_2": "tokenizer_2",
    "text_encoder_3": "tokenizer_3",
}


@dataclass(frozen=True)
class Family:
    """Some classes of diffusers, whose pipelines are all called in the same way."""

    name: str
    """The name in messages, such as "Stable Diffusion 1 and 2"."""
    pipelines: tuple[str, ...]
    """Class names, as `model_index.json` has them under `_class_name`."""
    blocks: tuple[str, ...]
    """Class names of the modules that count as one block when sparsity is spread by blocks."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Name of `harness.components.KINDS` → regular expression that matches the layers of this kind in every component.
    It is searched in the layer's name with a dot before and behind, such as ".mid_block.attentions.0.proj_in.". Cases
    of kinds without an entry are refused. Convolutions need no entry: their class says what they are."""
    callback: Literal["callback_on_step_end", "callback"] = "callback_on_step_end"
    """The argument that takes a function called after every step. `callback_on_step_end` calls it with (pipeline, step,
    timestep, tensors) and expects the tensors back; `callback` calls it with (step, timestep, latents)."""
    embeddings: tuple[str, ...] = ()
    """The call arguments that replace captions, in the order in which `encode_prompt` returns them. Empty: captions are
    encoded again in every call."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `encode_prompt`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of every call."""
    latent_shape: Callable[[Any], tuple[int, ...]] = square
    """Takes the configuration of the U-Net or transformer, and returns the shape of one picture's start noise."""
    tokenizers: Mapping[str, str] = field(default_factory=lambda: TOKENIZERS)
    """Text encoder → its tokenizer, both as the pipeline names them."""
    text_ends: Literal["end_token", "pad_token"] = "end_token"
    """Where padding begins. "end_token": after the first end token; "pad_token": at the first padding token."""
    fewest_steps: int = 1
    """The smallest number of denoising steps that the pipeline can run."""
    hides_out_of_memory: bool = False
    """Whether the pipeline turns an out of memory error of its decoder into a warning, and fails afterwards."""


FAMILIES: dict[str, Family] = {}
"""Class name of a pipeline → its family."""


def register(family: Family) -> None:
    """Add a family to `FAMILIES` under every class name. Call it from your conftest.py or your own module.

    Raises:
        ValueError: A class name belongs to another family.
    """
    for pipeline in family.pipelines:
        if FAMILIES.get(pipeline, family) != family:
            raise ValueError(f"{pipeline} belongs to the family {FAMILIES[pipeline].name} already; leave it out")
        FAMILIES[pipeline] = family


def family_of(class_name: object) -> Family:
    """Return the family of a pipeline.

    Args:
        class_name: The class, as `model_index.json` has it under `_class_name`; anything but a text is refused.

    Raises:
        HarnessError: No family has the class. The message lists the families.
    """
    if isinstance(class_name, str) and class_name in FAMILIES:
        return FAMILIES[class_name]
    known = "; ".join(f"{family.name} ({', '.join(family.pipelines)})" for family in _distinct())
    raise HarnessError(
        f"the pipeline class {class_name!r} is not supported; use a pipeline of one of these families: {known}; or "
        "register a `Family` of your own with harness.targets.families.register"
    )


def _distinct() -> list[Family]:
    return [family for name, family in FAMILIES.items() if family.pipelines[0] == name]


_GUIDED = ("prompt_embeds", "negative_prompt_embeds")
_POOLED = (*_GUIDED, "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
_MASKED = (
    "prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask",
)  # fmt: skip
_UNET = ("ResnetBlock2D", "BasicTransformerBlock", "CLIPEncoderLayer")
# Read captions as they are, whether or not ftfy and BeautifulSoup are installed, and make pictures of the model's size.
# Text encoders: CLIP and Gemma, then T5.
_TEXT_ATTENTION, _TEXT_FORWARD = r"\.(self_attn|SelfAttention)\.", r"\.(mlp|DenseReluDense)\."
# Blocks with attention to themselves (attn1), attention to the text (attn2), and a feed-forward network.
_BLOCK_KINDS = {
    "attention": rf"\.attn[12]\.|{_TEXT_ATTENTION}",
    "cross_attention": r"\.attn2\.",
    "self_attention": rf"\.attn1\.|{_TEXT_ATTENTION}",
    "feed_forward": rf"\.ff\.|{_TEXT_FORWARD}",
}
_UNET_KINDS = _BLOCK_KINDS | {
    "time_embedding": r"\.(time_embedding|add_embedding|time_emb_proj)\.",
    "resnet": r"\.resnets\.",
    "down": r"^\.down_blocks\.",
    "mid": r"^\.mid_block\.",
    "up": r"^\.up_blocks\.",
}
# One attention reads pictures and text together (attn), so it is neither cross- nor self-attention. Some models have
# a self-attention of pictures beside it (attn2).
_JOINT_KINDS = {
    "attention": rf"\.attn2?\.|{_TEXT_ATTENTION}",
    "self_attention": rf"\.attn2\.|{_TEXT_ATTENTION}",
    "feed_forward": rf"\.(ff|ff_context)\.|{_TEXT_FORWARD}",
    "time_embedding": r"\.time_text_embed\.",
}
_PIXART_KINDS = _BLOCK_KINDS | {"time_embedding": r"\.adaln_single\."}
_PLAIN = {"clean_caption": False, "use_resolution_binning": False}

for _family in (
    Family("Stable Diffusion 1 and 2", ("StableDiffusionPipeline",), _UNET, _UNET_KINDS, embeddings=_GUIDED),
    Family(
        "Stable Diffusion XL", ("StableDiffusionXLPipeline",), _UNET, _UNET_KINDS, embeddings=_POOLED,
        encoding={"prompt_2": None},
    ),
    Family(
        "Stable Diffusion 3", ("StableDiffusion3Pipeline",), ("JointTransformerBlock", "CLIPEncoderLayer", "T5Block"),
        _JOINT_KINDS, embeddings=_POOLED, encoding={"prompt_2": None, "prompt_3": None},
    ),
    # Differs: with one step PixArt-alpha reads a second value from the scheduler, which only some schedulers return.
    Family(
        "PixArt-alpha", ("PixArtAlphaPipeline",), ("BasicTransformerBlock", "T5Block"), _PIXART_KINDS,
        "callback", _MASKED,
        encoding={"clean_caption": False}, arguments=_PLAIN, fewest_steps=2,
    ),
    Family(
        "PixArt-Sigma", ("PixArtSigmaPipeline",), ("BasicTransformerBlock", "T5Block"), _PIXART_KINDS,
        "callback", _MASKED,
        encoding={"clean_caption": False}, arguments=_PLAIN,
    ),
    # Differs: no instruction to enhance the caption (`complex_human_instruction`) is put before the caption. Gemma's
    # tokenizer writes no end token.
    Family(
        "Sana", ("SanaPipeline",), ("SanaTransformerBlock", "Gemma2DecoderLayer"),
        _BLOCK_KINDS | {"time_embedding": r"\.time_embed\."}, embeddings=_MASKED,
        encoding={"clean_caption": False, "complex_human_instruction": None},
        arguments=_PLAIN | {"complex_human_instruction": None}, text_ends="pad_token", hides_out_of_memory=True,
    ),
):  # fmt: skip
    register(_family)
