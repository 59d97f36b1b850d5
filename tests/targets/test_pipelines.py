"""The contract of every family of pipelines, saved and loaded as the Hub lays them out."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.cli import main
from harness.components import KINDS, selection
from harness.errors import HarnessError
from harness.generation.generate import generate, latents, sample
from harness.generation.prompts import Prompts, counted, encode
from harness.pruning.calibration import calibrate
from harness.pruning.prune import prune
from harness.surgery.census import census
from harness.surgery.layers import blocks, chosen, prunable
from harness.surgery.masks import masked
from harness.targets import families, folder, resolve
from harness.targets.target import Target
from tests.pipelines import COMPONENTS, FAMILIES, seeded

CPU = torch.device("cpu")
CAPTIONS = ["a red circle", "two blue squares", "a cat"]
# The family of every small pipeline: the tests below cover all families that are accepted.
NAMES = {
    "sd1": "Stable Diffusion 1 and 2",
    "sd2": "Stable Diffusion 1 and 2",
    "sd2_v": "Stable Diffusion 1 and 2",
    "sdxl": "Stable Diffusion XL",
    "sd3": "Stable Diffusion 3",
    "pixart_alpha": "PixArt-alpha",
    "pixart_sigma": "PixArt-Sigma",
    "sana": "Sana",
}


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    place = tmp_path_factory.mktemp(request.param) / "pipeline"
    seeded(request.param).save_pretrained(place, safe_serialization=True)
    return request.param, place


@pytest.fixture(scope="module")
def target(saved: tuple[str, Path]) -> Target:
    loaded = resolve.load(resolve.resolve(str(saved[1])), CPU)
    return replace(loaded, protocol=replace(loaded.protocol, num_inference_steps=2))


def quiet(text: str) -> None:
    pass


def test_every_family_is_tested_here() -> None:
    assert {family.name for family in families.FAMILIES.values()} == set(NAMES.values())
    assert NAMES.keys() == FAMILIES.keys() == COMPONENTS.keys()


def test_its_components_are_named(saved: tuple[str, Path], target: Target) -> None:
    known = resolve.components(resolve.resolve(str(saved[1])))
    assert list(target.components) == list(known) == COMPONENTS[saved[0]]
    assert target.family.name == NAMES[saved[0]]
    assert not any(module.training for module in target.components.values())


def test_every_method_prunes_every_component(target: Target) -> None:
    names = list(target.components)
    statistics = calibrate(target, names, "all", CAPTIONS, gram=True).components
    for method in ("magnitude", "wanda", "sparsegpt", "owl_wanda"):
        case = Case("t", selection(names), method, "all", (0.5,) * len(names))
        with masked(target.components, prune(target, case, statistics)):
            for name, counts in census(target.components, "all").items():
                # SparseGPT and Wanda round per group; the smallest layers here have groups of a few weights.
                assert counts.sparsity_targeted == pytest.approx(0.5, abs=0.02), (method, name)


def test_kinds_of_layers_are_what_their_modules_are(target: Target) -> None:
    """The control: the classes of the modules around a layer, and the layers of attention by their inputs' widths."""
    kinds, seen = target.family.kinds, set()
    assert kinds.keys() <= set(KINDS)
    for module in target.components.values():
        known = {kind: chosen(module, kind, kinds) for kind in (*kinds, "convolution")}
        seen |= {kind for kind, layers in known.items() if layers}
        classes = {name: type(part).__name__ for name, part in module.named_modules()}
        around = {
            name: {classes[name[:dot]] for dot, sign in enumerate(name) if sign == "."}
            for name in prunable(module, "all")
        }
        attending = {n for n, those in around.items() if any("Attention" in kind for kind in those - CONTAINERS)}
        assert known["attention"].keys() == attending
        assert {n for n, those in around.items() if "ResnetBlock2D" in those} == known.get("resnet", {}).keys()
        parts = [known.get(kind, {}).keys() for kind in ("cross_attention", "self_attention", "feed_forward")]
        assert all(not a & b for a, b in combinations(parts, 2)) and parts[0] | parts[1] <= attending
        for name, layer in known.get("cross_attention", {}).items():
            if name.endswith(("to_k", "to_v")) and module is target.denoiser:
                assert sees_text(target, layer), name
    assert kinds.keys() <= seen


# Modules that hold attention beside other layers.
CONTAINERS = {"Transformer2DModel", "BasicTransformerBlock", "JointTransformerBlock", "T5LayerSelfAttention"}
CONTAINERS |= {name for part in ("Down", "Up") for name in (f"CrossAttn{part}Block2D", f"Attn{part}Block2D")}


def sees_text(target: Target, layer: torch.nn.Module) -> bool:
    """Return whether a layer's inputs have as many tokens as captions have."""
    tokens: list[int] = []
    handle = layer.register_forward_pre_hook(lambda module, args: tokens.append(args[0].shape[1]))
    sample(target, CAPTIONS[:1], 1)
    handle.remove()
    return set(tokens) <= {value.shape[1] for value in encode(target, CAPTIONS[:1]).values() if value.dim() == 3}


def test_a_kind_that_the_family_does_not_name_is_refused(target: Target) -> None:
    with pytest.raises(HarnessError, match="layers banana: the pipeline's family does not say which layers these are"):
        prunable(target.denoiser, "banana", target.family.kinds)


def test_a_pruned_component_makes_other_pictures_and_leaves_as_it_came(target: Target) -> None:
    dense = generate(target, CAPTIONS, 3, quiet)
    assert not dense.degenerate.any()
    for name in target.components:
        case = Case("t", name, "magnitude", "all", (0.6,))
        with masked(target.components, prune(target, case)):
            pruned = generate(target, CAPTIONS, 2, quiet)
        assert not torch.equal(pruned.images, dense.images), name
    assert torch.equal(generate(target, CAPTIONS, 3, quiet).images, dense.images)


def test_guidance_is_on_and_gradients_are_off(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def see(module: object, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
        first = (*args, *kwargs.values())[0]
        assert isinstance(first, torch.Tensor) and not torch.is_grad_enabled()
        seen.append(len(first))

    handle = target.denoiser.register_forward_hook(see, with_kwargs=True)
    latent = sample(target, CAPTIONS, 2)
    unguided = replace(target, protocol=replace(target.protocol, guidance_scale=1.0))
    plain = sample(unguided, CAPTIONS, 2)
    handle.remove()
    # Every caption once, and once more without its text where guidance is on.
    assert seen == [6, 6, 3, 3] and not latent.requires_grad and not torch.equal(latent, plain)
    assert not any(tensor.requires_grad for tensor in encode(target, CAPTIONS).values())
    negative = [name for name in encode(unguided, CAPTIONS) if "negative" in name]
    assert not negative and [name for name in encode(target, CAPTIONS) if "negative" in name]
    images = generate(unguided, CAPTIONS, 3, quiet, prompts=Prompts(unguided)).images
    assert torch.equal(images, generate(unguided, CAPTIONS, 3, quiet).images)


def test_text_encoders_are_calibrated_alone_as_with_all(target: Target) -> None:
    names = [name for name in target.components if name.startswith("text")]
    alone = calibrate(target, names, "linear", CAPTIONS, gram=False, padding="dropped").components
    whole = calibrate(target, list(target.components), "linear", CAPTIONS, gram=False, padding="dropped").components
    for name in names:
        assert alone[name].keys() == whole[name].keys() == prunable(target.components[name], "linear").keys()
        for layer, stats in alone[name].items():
            assert stats.rows == whole[name][layer].rows
            torch.testing.assert_close(stats.squares, whole[name][layer].squares)


def test_padding_is_what_follows_a_text(target: Target) -> None:
    for name in target.components:
        if not name.startswith("text"):
            continue
        tokenizer = getattr(target.pipeline, target.family.tokenizers[name])
        ids = tokenizer(["a cat", "a red circle"], padding="max_length", max_length=40, return_tensors="pt").input_ids
        mask = tokenizer(["a cat", "a red circle"], padding="max_length", max_length=40).attention_mask
        assert counted(target, name)(ids).int().tolist() == mask, name
        assert 0 < sum(mask[0]) < sum(mask[1]) < 40


def test_latency_is_taken_on_as_few_steps_as_can_be(saved: tuple[str, Path], target: Target) -> None:
    first, second, third = (sample(target, CAPTIONS, steps) for steps in (1, 2, 3))
    assert first.shape == latents(target, CAPTIONS).shape == (3, 4, 8, 8)
    # PixArt-alpha cannot run a single step.
    assert torch.equal(first, second) == (saved[0] == "pixart_alpha") and not torch.equal(second, third)
    one = replace(target, protocol=replace(target.protocol, num_inference_steps=1))
    if saved[0] == "pixart_alpha":
        with pytest.raises(HarnessError, match="--steps 1 is too few for PixArt-alpha; use 2 or more"):
            generate(one, CAPTIONS, 3, quiet)
    else:
        assert len(generate(one, CAPTIONS, 3, quiet).images) == 3


def test_blocks_hold_several_layers(target: Target) -> None:
    for module in target.components.values():
        layers = prunable(module, "all")
        assert max(len(names) for names in blocks(module, layers, target.family.blocks).values()) >= 3


def test_a_picture_does_not_depend_on_its_batch(target: Target) -> None:
    together = generate(target, CAPTIONS, 3, quiet).images
    alone = generate(target, CAPTIONS[1:2], 1, quiet).images
    assert together.shape == (3, 3, 16, 16)
    assert (together[1].int() - alone[0].int()).abs().max() <= 2
    assert (together[0].int() - together[1].int()).abs().max() > 2


def test_every_step_is_told(target: Target) -> None:
    told: list[str] = []
    generate(target, CAPTIONS, 2, told.append)
    assert [text.partition(",")[0] for text in told] == ["2/3 pictures"] * 2 + ["3/3 pictures"] * 2
    assert [text.split(", ")[1] for text in told] == ["step 1/2", "step 2/2"] * 2


def test_another_dtype_than_the_stored_one(saved: tuple[str, Path]) -> None:
    target = resolve.load(resolve.resolve(str(saved[1]), dtype="bfloat16"), CPU)
    assert target.dtype == torch.bfloat16
    target = replace(target, protocol=replace(target.protocol, num_inference_steps=2))
    assert generate(target, CAPTIONS[:2], 2, quiet).images.shape == (2, 3, 16, 16)


def test_half_precision_is_calibrated_and_makes_pictures(saved: tuple[str, Path], tmp_path: Path) -> None:
    seeded(saved[0]).to(torch.bfloat16).save_pretrained(tmp_path / "half", safe_serialization=True)
    target = folder.load(tmp_path / "half", "half", CPU)
    target = replace(target, protocol=replace(target.protocol, num_inference_steps=2))
    assert target.denoiser.dtype == torch.bfloat16
    statistics = calibrate(target, list(target.components), "all", CAPTIONS[:1], gram=False).components
    assert statistics.keys() == target.components.keys()
    assert generate(target, CAPTIONS[:1], 1, quiet).images.shape == (1, 3, 16, 16)


def test_pruned_from_the_command_line(saved: tuple[str, Path], tmp_path: Path) -> None:
    family, place = saved
    out = tmp_path / "out"
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS))
    options = [option for name in COMPONENTS[family] for option in (f"--{name.replace('_', '-')}", "0.5")]
    options += ["--calibration-captions", str(tmp_path / "captions.txt")]
    command = ["prune", str(place), "--method", "wanda", *options, "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    record = json.loads((out / "prunegate.json").read_text())
    assert list(record["components"]) == COMPONENTS[family]
    again = folder.load(out, "out", CPU)
    for name, counts in census(again.components, "linear").items():
        assert counts.zeros == record["components"][name]["zeros"] > 0


def test_a_component_that_is_not_there_is_refused(
    saved: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, place = saved
    missing = "--text-encoder-3" if "unet" in COMPONENTS[family] else "--unet"
    out = tmp_path / "out"
    assert main(["prune", str(place), "--method", "magnitude", missing, "0.5", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"has no {missing[2:].replace('-', '_')}, it has {', '.join(COMPONENTS[family])}" in said
    assert not out.exists()
