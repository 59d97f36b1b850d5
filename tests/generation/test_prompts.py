"""Captions that are encoded once make the same pictures as captions that are encoded in every call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.generation.generate import generate
from harness.generation.prompts import Prompts, encode
from harness.targets.target import Target, wrap
from tests.pipelines import FAMILIES, seeded

CAPTIONS = ["a red circle", "two blue squares", "a cat"]


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module", params=FAMILIES)
def target(request: pytest.FixtureRequest) -> Target:
    made = wrap("t", seeded(request.param), "digest", torch.device("cpu"))
    return replace(made, protocol=replace(made.protocol, num_inference_steps=2))


def kept_from_encoding(target: Target) -> Callable[..., Any]:
    """Return an `encode_prompt` that refuses texts."""
    right = type(target.pipeline).encode_prompt

    @functools.wraps(right)
    def encode_prompt(self: object, *args: Any, **more: Any) -> Any:
        assert more.get("prompt_embeds") is not None, "a text was encoded again"
        return right(self, *args, **more)

    return encode_prompt


def test_captions_encoded_before_make_the_same_pictures(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(target, CAPTIONS, 2, quiet)
    prompts = Prompts(target)
    for _ in range(2):
        again = generate(target, CAPTIONS, 2, quiet, prompts=prompts)
        assert torch.equal(again.images, whole.images)
        # From the second time on nothing is encoded.
        monkeypatch.setattr(type(target.pipeline), "encode_prompt", kept_from_encoding(target))
    with pytest.raises(AssertionError, match="encoded again"):
        generate(target, CAPTIONS, 3, quiet, prompts=prompts)


def test_captions_that_there_is_no_room_for_are_encoded_in_every_call(target: Target) -> None:
    prompts = Prompts(target)
    prompts.room = sum(tensor.nbytes for tensor in encode(target, ["a cat"]).values())
    assert "prompt_embeds" in prompts.arguments(["a cat"])
    assert prompts.arguments(["a dog"]) == {"prompt": ["a dog"]}
    assert "prompt_embeds" in prompts.arguments(["a cat"])


def test_a_family_may_have_captions_encoded_in_every_call(target: Target) -> None:
    plain = replace(target, family=replace(target.family, embeddings=()))
    assert Prompts(plain).arguments(CAPTIONS) == {"prompt": CAPTIONS} and encode(plain, CAPTIONS) == {}
    whole = generate(target, CAPTIONS, 3, quiet).images
    assert torch.equal(generate(plain, CAPTIONS, 3, quiet, prompts=Prompts(plain)).images, whole)


def test_a_family_that_names_other_embeddings_than_the_pipeline_returns_is_refused(target: Target) -> None:
    wrong = replace(target, family=replace(target.family, name="Ours", embeddings=("prompt_embeds",)))
    with pytest.raises(HarnessError, match="values, but the family Ours names 1"):
        encode(wrong, CAPTIONS)
