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
_PLAIN = {"clean_caption": False, "use_resolution_binning": False}

for _family in (
    Family("Stable Diffusion 1 and 2", ("StableDiffusionPipeline",), _UNET, embeddings=_GUIDED),
    Family(
        "Stable Diffusion XL", ("StableDiffusionXLPipeline",), _UNET, embeddings=_POOLED, encoding={"prompt_2": None},
    ),
    Family(
        "Stable Diffusion 3", ("StableDiffusion3Pipeline",), ("JointTransformerBlock", "CLIPEncoderLayer", "T5Block"),
        embeddings=_POOLED, encoding={"prompt_2": None, "prompt_3": None},
    ),
    # Differs: with one step PixArt-alpha reads a second value from the scheduler, which only some schedulers return.
    Family(
        "PixArt-alpha", ("PixArtAlphaPipeline",), ("BasicTransformerBlock", "T5Block"), "callback", _MASKED,
        encoding={"clean_caption": False}, arguments=_PLAIN, fewest_steps=2,
    ),
    Family(
        "PixArt-Sigma", ("PixArtSigmaPipeline",), ("BasicTransformerBlock", "T5Block"), "callback", _MASKED,
        encoding={"clean_caption": False}, arguments=_PLAIN,
    ),
    # Differs: no instruction to enhance the caption (`complex_human_instruction`) is put before the caption. Gemma's
    # tokenizer writes no end token.
    Family(
        "Sana", ("SanaPipeline",), ("SanaTransformerBlock", "Gemma2DecoderLayer"), embeddings=_MASKED,
        encoding={"clean_caption": False, "complex_human_instruction": None},
        arguments=_PLAIN | {"complex_human_instruction": None}, text_ends="pad_token", hides_out_of_memory=True,
    ),
):  # fmt: skip
    register(_family)
