"""Captions encoded once, for the cases that leave the text encoders dense."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.targets.base import Target

# What a pipeline's `encode_prompt` returns, by how many: as its `__call__` takes them.
NAMES = {
    2: ("prompt_embeds", "negative_prompt_embeds"),
    4: ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
}
# Bytes of encoded captions that are kept on the CPU; beyond them they are encoded anew.
ROOM = 2 * 2**30


class Prompts:
    """What the dense text encoders of a target make of batches of captions: the same bits as within the pipeline."""

    def __init__(self, target: Target) -> None:
        """The target must be dense whenever a batch is asked for that was not asked for before."""
        self.target, self.room = target, ROOM
        self._known: dict[tuple[str, ...], dict[str, Tensor]] = {}
        names = tuple(name for name in inspect.signature(target.pipeline.__call__).parameters if name in NAMES[4])
        self._names = names if names in (NAMES[2], NAMES[4]) else ()

    def arguments(self, captions: Sequence[str]) -> dict[str, Any]:
        """Return the arguments that stand for captions in a call of the pipeline."""
        key = tuple(captions)
        if key in self._known:
            return {name: tensor.to(self.target.device) for name, tensor in self._known[key].items()}
        encoded = self._encode(list(captions))
        size = sum(tensor.nbytes for tensor in encoded.values())
        if not encoded or size > self.room:
            return {"prompt": list(captions)}
        self.room -= size
        self._known[key] = {name: tensor.cpu() for name, tensor in encoded.items()}
        return dict(encoded)

    def _encode(self, captions: list[str]) -> dict[str, Tensor]:
        """Return nothing for a pipeline that wants more than embeddings: it encodes by itself."""
        encode = getattr(self.target.pipeline, "encode_prompt", None)
        if not self._names or encode is None:
            return {}
        others = [name for name in inspect.signature(encode).parameters if name in ("prompt_2", "prompt_3")]
        guided = self.target.protocol.guidance_scale > 1
        with torch.inference_mode():
            found = encode(
                prompt=captions,
                device=self.target.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=guided,
                **dict.fromkeys(others),
            )
        if len(found) != len(self._names):
            return {}
        return {name: tensor for name, tensor in zip(self._names, found, strict=True) if tensor is not None}
