"""A picture is a function of model, caption and protocol: not of batch, order or what ran before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.run import Caches, run
from harness.execution.store import Batches
from harness.folders import LocalFolder
from harness.generation.generate import generate, latents
from harness.pruning.prune import prune
from harness.surgery.masks import masked
from harness.targets import folder
from harness.targets.target import Target, wrap
from harness.workloads.scenes import scenes
from tests.pipelines import seeded

CPU = torch.device("cpu")


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def target(bench: Workbench) -> Target:
    return bench.target


@pytest.fixture(scope="module")
def captions(bench: Workbench) -> list[str]:
    return bench.texts


def test_the_same_case_twice_gives_the_same_pictures(target: Target, captions: list[str]) -> None:
    case = Case("scenes", "unet", "magnitude", "all", (0.30,))
    with masked(target.components, prune(target, case)):
        first = generate(target, captions[:4], 4, quiet)
    with masked(target.components, prune(target, Case("scenes", "both", "random", "all", (0.9, 0.9)))):
        other = generate(target, captions[:4], 4, quiet)
    with masked(target.components, prune(target, case)):
        again = generate(target, captions[:4], 4, quiet)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_batch_and_order_do_not_matter_beyond_rounding(target: Target, captions: list[str]) -> None:
    six = captions[:6]
    whole = generate(target, six, 6, quiet).images.int()
    for other in (
        generate(target, six, 4, quiet).images,
        generate(target, six[::-1], 6, quiet).images.flip(0),
        generate(target, six, 1, quiet).images,
    ):
        assert (whole - other.int()).abs().max() <= 1


def test_latents_belong_to_the_caption(target: Target, captions: list[str]) -> None:
    five = captions[:5]
    assert torch.equal(latents(target, five)[3], latents(target, five[3:4])[0])
    assert latents(target, five).std() > 0.9
    other = replace(target, protocol=replace(target.protocol, latent_seed=1))
    assert not torch.equal(latents(other, five), latents(target, five))


def test_noise_of_every_step_is_the_captions_own() -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    pipeline = seeded("sd2")
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    tiny = wrap("t", pipeline, "", CPU)
    tiny = replace(tiny, protocol=replace(tiny.protocol, num_inference_steps=3))
    three = ["a red circle", "two blue squares", "a cat"]
    together, again = (generate(tiny, three, 3, quiet).images for _ in range(2))
    alone = generate(tiny, three[1:2], 1, quiet).images
    assert torch.equal(together, again)
    assert (together[1].int() - alone[0].int()).abs().max() <= 2
    assert (together[0].int() - together[1].int()).abs().max() > 2


def test_everything_pruned_is_degenerate_or_wrong() -> None:
    bench = Workbench(Setup(scenes(16), "cpu", 16))
    dense = run(Case("scenes"), bench, None, Caches.of(bench), quiet)
    record = run(Case("scenes", "unet", "magnitude", "all", (1.0,)), bench, dense, Caches.of(bench), quiet).record
    assert record.quality["composition"].value < 0.1 < dense.record.quality["composition"].value
    assert record.components["unet"].sparsity_targeted == 1.0


def test_progress_is_told(target: Target, captions: list[str]) -> None:
    told: list[str] = []
    generate(target, captions[:3], 2, told.append)
    assert told[0].startswith("2/3 pictures, step 1/8") and told[-1].startswith("3/3 pictures, step 8/8")
    assert len(told) == 16


def test_a_killed_run_repeats_the_batch_in_flight_alone(target: Target, captions: list[str], tmp_path: Path) -> None:
    seven = captions[:7]
    whole = generate(target, seven, 2, quiet)
    seen: list[str] = []

    def killed(text: str) -> None:
        seen.append(text)
        if text.startswith("6/7") and "step 3/8" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(target, seven, 2, killed, Batches(LocalFolder(tmp_path), "key"))
    damaged = tmp_path / "key" / "2-2.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:40])
    seen.clear()
    kept = Batches(LocalFolder(tmp_path), "key")
    again = generate(target, seven, 2, seen.append, kept)
    # The first of four batches was kept, the second damaged, the third in flight, the fourth never begun.
    assert {text.partition(" ")[0] for text in seen} == {"4/7", "6/7", "7/7"} and kept.used
    assert torch.equal(again.images, whole.images) and torch.equal(again.degenerate, whole.degenerate)
    third = Batches(LocalFolder(tmp_path), "key")
    generate(target, seven, 2, quiet, third)
    assert third.used and not Batches(LocalFolder(tmp_path), "other").get(0, 2)
    # With memory for other batches than before, the kept ones are taken all the same.
    fourth = Batches(LocalFolder(tmp_path), "key")
    assert torch.equal(generate(target, seven, 5, quiet, fourth).images, whole.images) and fourth.used
    assert fourth.get(0, 1) is None


def test_a_batch_without_room_is_halved(target: Target, captions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seven, call = captions[:7], target.pipeline.__class__.__call__
    whole = generate(target, seven, 7, quiet)
    assert whole.batch_size == 7 and generate(target, seven[:2], 5, quiet).batch_size == 5
    room = 2
    told: list[str] = []

    def limited(self: object, prompt: list[str], **more: object) -> object:
        if len(prompt) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, prompt, **more)

    monkeypatch.setattr(target.pipeline.__class__, "__call__", limited)
    made = generate(target, seven, 7, told.append)
    assert made.batch_size == 1 and "out of memory: continuing with batches of 3" in told
    # Rounding alone, as between any two batch sizes.
    assert (made.images.int() - whole.images.int()).abs().max() <= 2
    # A batch size above the number of captions is not tried again and again.
    told.clear()
    assert generate(target, seven[:4], 64, told.append).batch_size == 2
    assert [text for text in told if text.startswith("out")] == ["out of memory: continuing with batches of 2"]
    room = 0
    with pytest.raises(HarnessError, match="cpu has too little memory for a single picture"):
        generate(target, seven, 7, quiet)


def test_another_error_than_memory_is_not_hidden(
    target: Target, captions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, **more: object) -> object:
        raise RuntimeError("something else")

    monkeypatch.setattr(target.pipeline.__class__, "__call__", broken)
    with pytest.raises(HarnessError, match=r"scenes cannot make pictures \(something else\)") as refused:
        generate(target, captions[:2], 2, quiet)
    assert isinstance(refused.value.__cause__, RuntimeError)


def short_of_memory(target: Target, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, torch.dtype]]:
    """Let the decoder run out of memory with two pictures; return what it is called with."""
    decode, calls = target.pipeline.vae.decode, []

    def limited(starts: torch.Tensor, **more: object) -> object:
        calls.append((len(starts), starts.dtype))
        if len(starts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(starts, **more)

    monkeypatch.setattr(target.pipeline.vae, "decode", limited)
    return calls


def test_a_decoder_that_ran_out_of_memory_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded("sdxl").to(torch.float16).save_pretrained(tmp_path, safe_serialization=True)
    tiny = folder.load(tmp_path, "t", CPU)
    tiny = replace(tiny, protocol=replace(tiny.protocol, num_inference_steps=2))
    wanted = generate(tiny, ["a", "b"], 1, quiet).images
    calls = short_of_memory(tiny, monkeypatch)
    made = generate(tiny, ["a", "b"], 2, quiet)
    assert made.batch_size == 1 and calls == [(2, torch.float32), (1, torch.float32), (1, torch.float32)]
    assert tiny.pipeline.vae.dtype == torch.float16 and torch.equal(made.images, wanted)


@pytest.mark.parametrize("family", ["sana", "pixart_alpha", "pixart_sigma", "sd3", "sd1"])
def test_a_decoder_without_memory_halves_the_batch_in_every_family(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sana's pipeline hides the error behind a warning and fails on something else."""
    tiny = wrap("t", seeded(family), "digest", CPU)
    tiny = replace(tiny, protocol=replace(tiny.protocol, num_inference_steps=2))
    wanted = generate(tiny, ["a", "b"], 1, quiet).images
    short_of_memory(tiny, monkeypatch)
    made = generate(tiny, ["a", "b"], 2, quiet)
    assert made.batch_size == 1 and torch.equal(made.images, wanted)
