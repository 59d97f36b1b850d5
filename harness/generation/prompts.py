"""Captions as the text encoders encode them, kept for all cases that leave the text encoders dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.generation.failures import explained
from harness.targets.target import Target

# Bytes of encoded captions that are kept on the CPU; all further captions are encoded in every call.
ROOM = 2 * 2**30


@torch.no_grad()
def encode(target: Target, captions: Sequence[str]) -> dict[str, Tensor]:
    """Run the text encoders on captions, and on the empty text where guidance is on.

    Args:
        target: The pipeline.
        captions: One or more.

    Returns:
        Call argument → tensor, the same bits as within a call of the pipeline; empty where the family has no
        `embeddings`.

    Raises:
        HarnessError: The text encoders fail, or `encode_prompt` returns another number of values than the family names.
    """
    family = target.family
    with explained(target):
        encoded = target.pipeline.encode_prompt(
            prompt=list(captions),
            device=target.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=target.protocol.guidance_scale > 1,
            **family.encoding,
        )
    if not family.embeddings:
        return {}
    if len(encoded) != len(family.embeddings):
        raise HarnessError(
            f"encode_prompt of {type(target.pipeline).__name__} returns {len(encoded)} values, but the family "
            f"{family.name} names {len(family.embeddings)}; correct its `embeddings`, or leave them empty"
        )
    return {name: tensor for name, tensor in zip(family.embeddings, encoded, strict=True) if tensor is not None}


class Prompts:
    """Keeps batches of captions as the dense text encoders encode them."""

    def __init__(self, target: Target) -> None:
        """Keep nothing yet. The text encoders must be dense whenever a new batch is encoded."""
        self.target, self.room = target, ROOM
        self._known: dict[tuple[str, ...], dict[str, Tensor]] = {}

    def kept(self, captions: Sequence[str]) -> list[Tensor]:
        """Return what is kept of a batch of captions, on the CPU; empty where the batch was never requested."""
        return list(self._known.get(tuple(captions), {}).values())

    def arguments(self, captions: Sequence[str]) -> dict[str, Any]:
        """Return the call arguments for captions: their embeddings, or the texts where embeddings cannot be kept."""
        key = tuple(captions)
        if not self.target.family.embeddings:
            return {"prompt": list(captions)}
        if key not in self._known:
            encoded = encode(self.target, captions)
            size = sum(tensor.nbytes for tensor in encoded.values())
            if size > self.room:
                return {"prompt": list(captions)}
            self.room -= size
            self._known[key] = {name: tensor.cpu() for name, tensor in encoded.items()}
        # Some pipelines have a default text here, and refuse texts beside embeddings.
        return {name: tensor.to(self.target.device) for name, tensor in self._known[key].items()} | {
            "negative_prompt": None
        }


def counted(target: Target, component: str) -> Callable[[Tensor], Tensor]:
    """Return a function that marks the tokens of a text that are not padding.

    Args:
        target: A pipeline.
        component: A text encoder, as `Target.components` names it.

    Returns:
        A function from token ids, int64 `[n, tokens]`, to bool `[n, tokens]`. The first end token is no padding, in
        families whose texts end with one.
    """
    tokenizer = getattr(target.pipeline, target.family.tokenizers[component])
    if target.family.text_ends == "pad_token":
        padding: int = tokenizer.pad_token_id
        return lambda ids: ids != padding
    end: int = tokenizer.eos_token_id

    def until_end(ids: Tensor) -> Tensor:
        ends = (ids == end).long()
        counting: Tensor = ends.cumsum(1) == ends
        return counting

    return until_end
