"""What is loaded from a folder, and its digest: of everything that is computed with, and of nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.errors import HarnessError
from harness.generation.generate import generate
from harness.targets import families, folder
from harness.targets.families import Family
from harness.targets.target import Target, wrap
from tests.pipelines import seeded

CPU = torch.device("cpu")
PLAIN, HALF = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"


def load(place: Path) -> Target:
    return folder.load(place, "t", CPU)


def test_the_digest_is_of_what_is_computed_and_of_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "pipeline"
    seeded("sdxl").save_pretrained(place, safe_serialization=True)
    first = load(place).digest
    shutil.copy(place / "unet" / PLAIN, place / "whole.safetensors")
    shutil.copy(place / "unet" / PLAIN, place / "unet" / HALF)
    config = json.loads((place / "vae" / "config.json").read_text())
    (place / "vae" / "config.json").write_text(json.dumps(config | {"_diffusers_version": "0.1.0"}))
    assert load(place).digest == first
    (place / "vae" / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    other = load(place).digest
    (place / "tokenizer_2" / "tokenizer_config.json").write_text('{"model_max_length": 77}')
    assert len({first, other, load(place).digest}) == 3


def test_weights_that_are_there_as_a_variant_only(tmp_path: Path) -> None:
    pipeline = seeded("sd2").to(torch.float16)
    pipeline.save_pretrained(tmp_path / "plain", safe_serialization=True)
    pipeline.save_pretrained(tmp_path / "variant", safe_serialization=True, variant="fp16")
    assert not (tmp_path / "variant" / "unet" / PLAIN).exists()
    plain, variant = (load(tmp_path / name) for name in ("plain", "variant"))
    assert variant.dtype == torch.float16 and set(variant.components) == set(plain.components)
    # A checkpoint in one file, as the Hub's Stable Diffusion XL has beside its components, is no variant.
    shutil.copy(tmp_path / "plain" / "unet" / PLAIN, tmp_path / "plain" / "sd_xl_base_1.0.safetensors")
    assert load(tmp_path / "plain").digest == plain.digest
    state = plain.denoiser.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in variant.denoiser.state_dict().items())
    # A plain text encoder beside the variant changes nothing: diffusers takes the variant where there is one.
    before = variant.digest
    shutil.copy(tmp_path / "plain" / "text_encoder" / "model.safetensors", tmp_path / "variant" / "text_encoder")
    assert load(tmp_path / "variant").digest == before


def test_parts_that_are_stored_in_different_dtypes_are_loaded_in_one(tmp_path: Path) -> None:
    pipeline = seeded("sd3")
    pipeline.save_pretrained(tmp_path / "mixed", safe_serialization=True)
    pipeline.text_encoder.to(torch.float16).save_pretrained(tmp_path / "mixed" / "text_encoder")
    target = load(tmp_path / "mixed")
    assert {part.dtype for part in target.components.values()} == {torch.float32}
    target = folder.load(tmp_path / "mixed", "t", CPU, torch.bfloat16)
    assert target.dtype == torch.bfloat16


def test_a_safety_checker_stays_for_whoever_saves_the_pipeline_again(tmp_path: Path) -> None:
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pipeline = seeded("sd1")
    pipeline.register_modules(
        safety_checker=StableDiffusionSafetyChecker(CLIPConfig(text_config=size, vision_config=size)),
        feature_extractor=CLIPImageProcessorPil(),
    )
    pipeline.save_pretrained(tmp_path / "pipeline", safe_serialization=True)
    assert load(tmp_path / "pipeline").pipeline.safety_checker is not None


def test_what_diffusers_cannot_load_is_one_message(tmp_path: Path) -> None:
    seeded("sd2").save_pretrained(tmp_path / "pipeline", safe_serialization=True)
    (tmp_path / "pipeline" / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(HarnessError, match="pipeline cannot be loaded") as refused:
        load(tmp_path / "pipeline")
    assert len(str(refused.value).splitlines()) == 1


def fake(**parts: torch.nn.Module) -> SimpleNamespace:
    """Return a pipeline of the class `SimpleNamespace`."""
    return SimpleNamespace(**parts, set_progress_bar_config=lambda **_: None)


def configured(**config: object) -> torch.nn.Module:
    module = torch.nn.Linear(2, 2)
    module.config = config
    return module


def test_a_pipeline_that_does_not_fit_its_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", dict(families.FAMILIES))
    text, unet = torch.nn.Linear(2, 2), configured(in_channels=4, sample_size=8)
    with pytest.raises(HarnessError, match="the pipeline class 'SimpleNamespace' is not supported"):
        wrap("ours", fake(unet=unet, text_encoder=text), "digest", CPU)
    families.register(Family("Ours", ("SimpleNamespace",), ()))
    assert wrap("ours", fake(unet=unet, text_encoder=text), "digest", CPU).family.name == "Ours"
    for pipeline, said in (
        (fake(unet=configured(in_channels=4), text_encoder=text), "the configuration of its Linear has no sample_size"),
        (fake(unet=configured(in_channels=4, sample_size=(8, 4)), text_encoder=text), "its latents have the shape"),
        (fake(unet=configured(in_channels=4, sample_size=None), text_encoder=text), "its latents have the shape"),
        (fake(unet=unet), "SimpleNamespace has only unet to prune"),
        (fake(text_encoder=text), "SimpleNamespace has only text_encoder to prune"),
        (fake(), "SimpleNamespace has nothing to prune"),
    ):
        with pytest.raises(HarnessError, match=said):
            wrap("ours", pipeline, "digest", CPU)


def test_a_family_decides_the_shape_of_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = replace(families.FAMILIES["StableDiffusionPipeline"], latent_shape=lambda c: (c["in_channels"], 8, 16))
    monkeypatch.setitem(families.FAMILIES, "StableDiffusionPipeline", wide)
    target = wrap("wide", seeded("sd2"), "digest", CPU)
    target = replace(target, protocol=replace(target.protocol, num_inference_steps=1))
    assert generate(target, ["a cat"], 1, lambda _: None).images.shape == (1, 3, 16, 32)
