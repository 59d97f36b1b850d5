"""Refuses impossible numbers in a pipeline's folder, before they fill the memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.components import denoiser_of
from harness.errors import HarnessError
from harness.targets import layout
from harness.targets.families import Family

# The longest side of latents, and their largest number of channels. Decoders enlarge 8 times or more, to 8,192 pixels.
SIDE = 1024
# The largest number of steps that a scheduler is trained with; 1,000 is usual. It stores several numbers per step.
STEPS = 1_000_000
_SCHEDULER = Path("scheduler") / "scheduler_config.json"


def check(folder: Path, family: Family) -> None:
    """Check the configurations of a pipeline's folder, before anything is built from them.

    Raises:
        HarnessError: Latents have no size, or are larger than any picture; or the scheduler has far too many steps.
    """
    listed = layout.parts(folder / layout.INDEX)
    config = folder / denoiser_of(listed) / "config.json"
    # A value that the file leaves out has a default. `wrap` refuses a value of another type.
    with suppress(KeyError, TypeError):
        shape = family.latent_shape(layout.content_of(config)) if config.is_file() else ()
        if not all(0 < size <= SIDE for size in shape):
            raise HarnessError(
                f"{config} describes latents of shape {tuple(shape)}; each number must be from 1 to {SIDE}: correct "
                "the file, or download it again"
            )
    steps = layout.content_of(folder / _SCHEDULER).get("num_train_timesteps") if (folder / _SCHEDULER).is_file() else 1
    if isinstance(steps, int) and not 0 < steps <= STEPS:
        raise HarnessError(
            f"{folder / _SCHEDULER} has num_train_timesteps {steps}; give a number from 1 to {STEPS}, usually 1000"
        )


def check_texts(folder: Path, family: Family, pipeline: Any) -> None:
    """Check that the text encoders of a loaded pipeline can read all tokens that its tokenizers write.

    Raises:
        HarnessError: A tokenizer knows more tokens than its text encoder, or writes longer texts.
    """
    for encoder, tokenizer in family.tokenizers.items():
        network, words = getattr(pipeline, encoder, None), getattr(pipeline, tokenizer, None)
        if network is None or words is None:
            continue
        rows, last = network.get_input_embeddings().num_embeddings, _last(words)
        if last >= rows:
            raise HarnessError(
                f"{folder / tokenizer} has token {last}, but {encoder} knows {rows} tokens only; give the tokenizer "
                "that the text encoder was trained with"
            )
        # Only a CLIP gets texts of the tokenizer's full length.
        longest = network.config.max_position_embeddings if network.config.model_type == "clip_text_model" else None
        if longest is not None and not 0 < words.model_max_length <= longest:
            raise HarnessError(
                f"{folder / tokenizer} has model_max_length {words.model_max_length:g}, but {encoder} reads texts of "
                f"1 to {longest} tokens; correct tokenizer_config.json"
            )


def _last(words: Any) -> int:
    """Return the largest token that a tokenizer writes for plain texts.

    Added tokens count only if they end a text or pad it. Texts do not contain the others.
    """
    added = words.get_added_vocab()
    ends = (words.eos_token_id, words.pad_token_id)
    return max((token for word, token in words.get_vocab().items() if word not in added or token in ends), default=0)
