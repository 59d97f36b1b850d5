"""A picture is a function of model, caption and protocol: not of batch, order or what ran before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.engine import Engine
from harness.pipeline import run
from harness.pruning import prune
from harness.quality.generate import generate, latents
from harness.store import Batches
from harness.surgery.masks import masked


def quiet(text: str) -> None:
    pass


def test_the_same_case_twice_gives_the_same_pictures(engine: Engine) -> None:
    case = Case("scenes", "unet", "magnitude", "all", (0.30,))
    with masked(engine.target.components, prune(engine.target, case)):
        first = generate(engine.target, engine.captions[:4], 4, quiet)
    with masked(engine.target.components, prune(engine.target, Case("scenes", "both", "random", "all", (0.9, 0.9)))):
        other = generate(engine.target, engine.captions[:4], 4, quiet)
    with masked(engine.target.components, prune(engine.target, case)):
        again = generate(engine.target, engine.captions[:4], 4, quiet)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_batch_and_order_do_not_matter_beyond_rounding(engine: Engine) -> None:
    captions = engine.captions[:6]
    whole = generate(engine.target, captions, 6, quiet).images.int()
    for other in (
        generate(engine.target, captions, 4, quiet).images,
        generate(engine.target, captions[::-1], 6, quiet).images.flip(0),
        generate(engine.target, captions, 1, quiet).images,
    ):
        assert (whole - other.int()).abs().max() <= 1


def test_latents_belong_to_the_caption(engine: Engine) -> None:
    captions = engine.captions[:5]
    assert torch.equal(latents(engine.target, captions)[3], latents(engine.target, captions[3:4])[0])
    assert latents(engine.target, captions).std() > 0.9


def test_everything_pruned_is_degenerate_or_wrong(engine: Engine) -> None:
    record = run(Case("scenes", "unet", "magnitude", "all", (1.0,)), engine).record
    assert record.quality["composition"].value < 0.1
    assert record.exact["components"]["unet"]["sparsity_targeted"] == 1.0


def test_progress_is_told(engine: Engine) -> None:
    told: list[str] = []
    generate(engine.target, engine.captions[:3], 2, told.append)
    assert told[0] == "2/3 pictures, step 1/8" and told[-1] == "3/3 pictures, step 8/8" and len(told) == 16


def test_a_killed_run_repeats_the_batch_in_flight_alone(engine: Engine, tmp_path: Path) -> None:
    captions = engine.captions[:7]
    whole = generate(engine.target, captions, 2, quiet)
    seen: list[str] = []

    def killed(text: str) -> None:
        seen.append(text)
        if text.startswith("6/7") and text.endswith("step 3/8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(engine.target, captions, 2, killed, Batches(tmp_path, "key", "pictures"))
    damaged = tmp_path / "key.batches" / "pictures" / "2-2.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:40])
    seen.clear()
    kept = Batches(tmp_path, "key", "pictures")
    again = generate(engine.target, captions, 2, seen.append, kept)
    # The first of four batches was kept, the second damaged, the third in flight, the fourth never begun.
    assert {text.partition(" ")[0] for text in seen} == {"4/7", "6/7", "7/7"} and kept.used
    assert torch.equal(again.images, whole.images) and torch.equal(again.degenerate, whole.degenerate)
    third = Batches(tmp_path, "key", "pictures")
    generate(engine.target, captions, 2, quiet, third)
    assert third.used and not Batches(tmp_path, "other", "pictures").get(0, 2)
