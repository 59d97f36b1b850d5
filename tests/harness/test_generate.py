"""A picture is a function of model, caption and protocol: not of batch, order or what ran before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.clock import Clock
from harness.engine import Engine
from harness.errors import HarnessError
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
    assert (
        told[0].startswith("2/3 pictures, step 1/8")
        and told[-1].startswith("3/3 pictures, step 8/8")
        and len(told) == 16
    )


def test_a_killed_run_repeats_the_batch_in_flight_alone(engine: Engine, tmp_path: Path) -> None:
    captions = engine.captions[:7]
    whole = generate(engine.target, captions, 2, quiet)
    seen: list[str] = []

    def killed(text: str) -> None:
        seen.append(text)
        if text.startswith("6/7") and "step 3/8" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(engine.target, captions, 2, killed, Batches(tmp_path / "key"))
    damaged = tmp_path / "key" / "2-2.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:40])
    seen.clear()
    kept = Batches(tmp_path / "key")
    again = generate(engine.target, captions, 2, seen.append, kept)
    # The first of four batches was kept, the second damaged, the third in flight, the fourth never begun.
    assert {text.partition(" ")[0] for text in seen} == {"4/7", "6/7", "7/7"} and kept.used
    assert torch.equal(again.images, whole.images) and torch.equal(again.degenerate, whole.degenerate)
    third = Batches(tmp_path / "key")
    generate(engine.target, captions, 2, quiet, third)
    assert third.used and not Batches(tmp_path / "other").get(0, 2)
    # With room for other batches than before, those that are there are taken all the same.
    fourth = Batches(tmp_path / "key")
    assert torch.equal(generate(engine.target, captions, 5, quiet, fourth).images, whole.images) and fourth.used
    assert fourth.get(0, 1) is None


def test_a_batch_without_room_is_halved(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    captions, call = engine.captions[:7], engine.target.pipeline.__class__.__call__
    whole = generate(engine.target, captions, 7, quiet)
    room, told = 2, []

    def limited(self: object, prompt: list[str], **more: object) -> object:
        if len(prompt) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, prompt, **more)

    monkeypatch.setattr(engine.target.pipeline.__class__, "__call__", limited)
    found = generate(engine.target, captions, 7, told.append)
    assert found.batch_size == 1 and "out of memory: going on with batches of 3" in told
    # Rounding alone, as between any two batch sizes.
    assert (found.images.int() - whole.images.int()).abs().max() <= 2
    room = 0
    with pytest.raises(HarnessError, match="not enough memory on cpu for one picture"):
        generate(engine.target, captions, 7, quiet)


def test_the_time_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("harness.clock.time.monotonic", lambda: now)
    clock = Clock(1000)
    assert clock.left(0) == ""
    clock.begin(200)
    now = 2.0
    assert clock.left(201) == ""
    now = 10.0
    assert clock.left(300) == ", 70 s left" and clock.left(210) == ", 13 min left" and clock.left(1000) == ", 0 s left"
    clock.begin(300)
    now = 200.0
    assert clock.left(210) == ", 4 h left"
