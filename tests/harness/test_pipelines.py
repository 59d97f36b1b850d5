"""The contract of every supported family of pipelines, saved and loaded as the hub lays them out."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.__main__ import main
from harness.calibration import calibrate
from harness.case import Case, selection
from harness.errors import HarnessError
from harness.pruning import prune
from harness.quality.generate import generate, sample
from harness.quality.prompts import Prompts
from harness.surgery.layers import blocks, prunable
from harness.surgery.masks import census, masked
from harness.targets.base import Target
from harness.targets.folder import load, wrap
from tests.pipelines import COMPONENTS, FAMILIES, seeded

CPU = torch.device("cpu")
CAPTIONS = ["a red circle", "two blue squares", "a cat"]


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param) / "pipeline"
    seeded(request.param).save_pretrained(folder, safe_serialization=True)
    return request.param, folder


@pytest.fixture(scope="module")
def target(saved: tuple[str, Path]) -> Target:
    found = load(saved[1], CPU)
    return replace(found, protocol=replace(found.protocol, num_inference_steps=2))


def test_its_components_are_named(saved: tuple[str, Path], target: Target) -> None:
    assert list(target.components) == COMPONENTS[saved[0]]
    assert not any(module.training for module in target.components.values())


def test_every_method_prunes_every_component(target: Target) -> None:
    names = list(target.components)
    statistics = calibrate(target, names, "all", CAPTIONS, gram=True).components
    for method in ("magnitude", "wanda", "sparsegpt", "owl_wanda"):
        case = Case("t", selection(names), method, "all", (0.5,) * len(names))
        with masked(target.components, prune(target, case, statistics)):
            for name, counts in census(target.components, "all").items():
                # SparseGPT and Wanda round per group; the smallest layers here have groups of a few weights.
                assert counts["sparsity_targeted"] == pytest.approx(0.5, abs=0.02), (method, name)


def test_text_encoders_are_calibrated_alone_as_with_all(target: Target) -> None:
    names = [name for name in target.components if name.startswith("text")]
    alone = calibrate(target, names, "linear", CAPTIONS, gram=False, padding="dropped").components
    whole = calibrate(target, list(target.components), "linear", CAPTIONS, gram=False, padding="dropped").components
    for name in names:
        assert alone[name].keys() == whole[name].keys() == prunable(target.components[name], "linear").keys()
        for layer, stats in alone[name].items():
            assert stats.rows == whole[name][layer].rows
            torch.testing.assert_close(stats.squares, whole[name][layer].squares)


def test_latency_is_taken_on_one_step(target: Target) -> None:
    first, second = (sample(target, CAPTIONS, steps) for steps in (1, 2))
    assert first.shape == (3, 4, 8, 8) and not torch.equal(first, second)


def test_blocks_hold_several_layers(target: Target) -> None:
    for module in target.components.values():
        layers = prunable(module, "all")
        assert max(len(names) for names in blocks(module, layers).values()) >= 3


def test_the_digest_is_of_what_is_computed_and_of_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    seeded("sdxl").save_pretrained(folder, safe_serialization=True)
    first = load(folder, CPU).digest
    shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "whole.safetensors")
    shutil.copy(
        folder / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "unet" / "diffusion_pytorch_model.fp16.safetensors",
    )
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"_diffusers_version": "0.1.0"}))
    assert load(folder, CPU).digest == first
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    other = load(folder, CPU).digest
    (folder / "tokenizer_2" / "tokenizer_config.json").write_text("{}")
    assert len({first, other, load(folder, CPU).digest}) == 3


def test_a_picture_does_not_depend_on_its_batch(target: Target) -> None:
    together = generate(target, CAPTIONS, 3, lambda _: None).images
    alone = generate(target, CAPTIONS[1:2], 1, lambda _: None).images
    assert together.shape == (3, 3, 16, 16)
    assert (together[1].int() - alone[0].int()).abs().max() <= 2
    assert (together[0].int() - together[1].int()).abs().max() > 2


def test_noise_of_every_step_is_the_captions_own() -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    pipeline = seeded("sd2")
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    found = wrap("t", pipeline, "", CPU)
    found = replace(found, protocol=replace(found.protocol, num_inference_steps=3))
    together, again = (generate(found, CAPTIONS, 3, lambda _: None).images for _ in range(2))
    alone = generate(found, CAPTIONS[1:2], 1, lambda _: None).images
    assert torch.equal(together, again)
    assert (together[1].int() - alone[0].int()).abs().max() <= 2
    assert (together[0].int() - together[1].int()).abs().max() > 2


def test_captions_encoded_before_make_the_same_pictures(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(target, CAPTIONS, 2, lambda _: None)
    prompts = Prompts(target)
    for _ in range(2):
        again = generate(target, CAPTIONS, 2, lambda _: None, prompts=prompts)
        assert torch.equal(again.images, whole.images)
        # From the second time on nothing is encoded.
        monkeypatch.setattr(type(target.pipeline), "encode_prompt", kept_from_encoding(target))
    full = Prompts(target)
    full.room = 0
    assert full.arguments(["a cat"]) == {"prompt": ["a cat"]}


def kept_from_encoding(target: Target) -> Callable[..., Any]:
    right = type(target.pipeline).encode_prompt

    @functools.wraps(right)
    def encode(self: object, *args: Any, **more: Any) -> Any:
        assert more.get("prompt_embeds") is not None or more["prompt"] == ["a cat"]
        return right(self, *args, **more)

    return encode


def test_another_dtype_than_the_stored_one(saved: tuple[str, Path]) -> None:
    found = load(saved[1], CPU, torch.bfloat16)
    assert found.dtype == torch.bfloat16
    found = replace(found, protocol=replace(found.protocol, num_inference_steps=1))
    assert generate(found, CAPTIONS[:2], 2, lambda _: None).images.shape == (2, 3, 16, 16)


def test_pruned_from_the_command_line(saved: tuple[str, Path], tmp_path: Path) -> None:
    family, folder = saved
    out = tmp_path / "out"
    options = [option for name in COMPONENTS[family] for option in (f"--{name.replace('_', '-')}", "0.5")]
    command = ["prune", str(folder), "--method", "wanda", *options, "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    record = json.loads((out / "prunegate.json").read_text())
    assert list(record["components"]) == COMPONENTS[family]
    again = load(out, CPU)
    for name, counts in census(again.components, "linear").items():
        assert counts["zeros"] == record["components"][name]["zeros"] > 0


def test_half_precision_is_calibrated_and_makes_pictures(saved: tuple[str, Path], tmp_path: Path) -> None:
    family, _ = saved
    seeded(family).to(torch.bfloat16).save_pretrained(tmp_path / "half", safe_serialization=True)
    target = load(tmp_path / "half", CPU)
    target = replace(target, protocol=replace(target.protocol, num_inference_steps=1))
    assert target.denoiser.dtype == torch.bfloat16
    statistics = calibrate(target, list(target.components), "all", CAPTIONS[:1], gram=False).components
    assert statistics.keys() == target.components.keys()
    assert generate(target, CAPTIONS[:1], 1, lambda _: None).images.shape == (1, 3, 16, 16)


def test_weights_that_are_there_as_a_variant_only(tmp_path: Path) -> None:
    pipeline = seeded("sd2").to(torch.float16)
    pipeline.save_pretrained(tmp_path / "plain", safe_serialization=True)
    pipeline.save_pretrained(tmp_path / "variant", safe_serialization=True, variant="fp16")
    assert not (tmp_path / "variant" / "unet" / "diffusion_pytorch_model.safetensors").exists()
    plain, found = (load(tmp_path / name, CPU) for name in ("plain", "variant"))
    assert found.dtype == torch.float16 and set(found.components) == set(plain.components)
    # A checkpoint in one file, as the hub's Stable Diffusion XL has beside its components, is no variant.
    weights = tmp_path / "plain" / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, tmp_path / "plain" / "sd_xl_base_1.0.safetensors")
    assert load(tmp_path / "plain", CPU).digest == plain.digest
    state = plain.denoiser.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.denoiser.state_dict().items())
    # A plain text encoder beside it makes no difference: diffusers takes the variant where there is one.
    before = found.digest
    shutil.copy(tmp_path / "plain" / "text_encoder" / "model.safetensors", tmp_path / "variant" / "text_encoder")
    assert load(tmp_path / "variant", CPU).digest == before


def test_latents_that_are_laid_out_otherwise_are_refused() -> None:
    pipeline = SimpleNamespace(unet=torch.nn.Linear(2, 2), text_encoder=torch.nn.Linear(2, 2))
    pipeline.unet.config = {"in_channels": 4}
    with pytest.raises(HarnessError, match="whose Linear has no sample_size"):
        wrap("flux", pipeline, "digest", CPU)


def test_a_decoder_that_ran_out_of_memory_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded("sdxl").to(torch.float16).save_pretrained(tmp_path, safe_serialization=True)
    found = load(tmp_path, CPU)
    found = replace(found, protocol=replace(found.protocol, num_inference_steps=2))
    vae = found.pipeline.vae
    wanted = generate(found, ["a", "b"], 1, lambda _: None).images
    decode, calls = vae.decode, []

    def limited(latents: torch.Tensor, **more: object) -> object:
        calls.append((len(latents), latents.dtype))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(latents, **more)

    monkeypatch.setattr(vae, "decode", limited)
    made = generate(found, ["a", "b"], 2, lambda _: None)
    assert made.batch_size == 1 and calls == [(2, torch.float32), (1, torch.float32), (1, torch.float32)]
    assert vae.dtype == torch.float16 and torch.equal(made.images, wanted)


def test_a_component_that_is_not_there_is_refused(
    saved: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, folder = saved
    missing = "--unet" if family == "sd3" else "--text-encoder-3"
    out = tmp_path / "out"
    assert main(["prune", str(folder), "--method", "magnitude", missing, "0.5", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"has no {missing[2:].replace('-', '_')}; it has {', '.join(COMPONENTS[family])}" in said
    assert not out.exists()
