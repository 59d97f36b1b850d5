"""A pipeline of another tool in the target's place. Its control is the case that pruned the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.local import LocalExecutor
from harness.metrics.scorers.scorer import Scorer
from harness.pruning.export import Request, export
from harness.record import REUSED
from harness.targets.candidate import named
from harness.targets.resolve import resolve
from harness.workloads.user import user
from tests.pipelines import CLIP, UNET, save_clip_scorer, save_coco, seeded, stable_diffusion_xl

DENSE, HALF = Case("target"), Case("target", "both", "magnitude", "all", (0.5, 0.5))


def given(name: str) -> Case:
    return Case("target", "both", f"candidate:{name}", "all")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target, a copy that PruneGate has pruned, captions and a scorer."""
    folder = tmp_path_factory.mktemp("candidates")
    seeded("sd2").save_pretrained(folder / "target", safe_serialization=True)
    levels = {"text_encoder": 0.5, "unet": 0.5}
    export(Request(resolve(str(folder / "target")), "magnitude", levels, "all", folder / "half", device="cpu"), print)
    save_coco(folder / "captions.json", 10)
    save_clip_scorer(folder / "scorer")
    return folder


def setup(place: Path, *candidates: str | Path, **more: Any) -> Setup:
    spec = resolve(str(place / "target"))
    workload = user(spec, place / "captions.json", 4, scorer=str(place / "scorer"), steps=2)
    return Setup(workload, "cpu", 4, candidates=tuple(named(str(text), spec) for text in candidates), **more)


def test_a_folder_with_the_pruned_weights_is_measured_like_the_case_that_pruned_them(place: Path) -> None:
    executor = LocalExecutor(setup(place, f"same={place / 'target'}", f"mine={place / 'half'}"), print)
    executor.plan([DENSE, HALF, given("mine"), given("same")])
    half, mine, same = (executor.submit(case).result() for case in (HALF, given("mine"), given("same")))
    assert (mine.row, mine.record.keep) == (half.row, half.record.keep)
    assert (mine.record.quality, mine.record.paired) == (half.record.quality, half.record.paired)
    wanted = {name: replace(counts, rounding=0.0) for name, counts in half.record.components.items()}
    assert mine.record.components == wanted and mine.record.workload == half.record.workload
    assert min(mine.record.changed.values()) > 10 and not half.record.changed
    assert same.record.changed == {"text_encoder": 0, "unet": 0}
    assert same.record.quality["fid_dense"].value == pytest.approx(0, abs=1e-6)
    assert executor.submit(HALF).result().row == half.row, "the target is as it was"


def test_fewer_blocks_and_another_dtype_are_counted(place: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    pipeline = seeded("sd2")
    shape = {"block_out_channels": (32,), "down_block_types": ("CrossAttnDownBlock2D",)}
    smaller = UNET | shape | {"up_block_types": ("CrossAttnUpBlock2D",)}
    pipeline.unet = UNet2DConditionModel(**smaller, use_linear_projection=True)
    pipeline.text_encoder = CLIPTextModel(CLIPTextConfig(**CLIP | {"num_hidden_layers": 1}))
    pipeline.register_modules(unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    pipeline.to(torch.bfloat16).save_pretrained(tmp_path / "small", safe_serialization=True)
    executor = LocalExecutor(setup(place, tmp_path / "small"), print)
    executor.plan([given("small")])
    record = executor.submit(given("small")).result().record
    unet = record.components["unet"]
    assert unet.parameters == sum(p.numel() for p in pipeline.unet.parameters())
    assert unet.dense_bytes == 2 * unet.parameters == unet.stored_bytes
    assert record.changed["text_encoder"] == 12, "every layer of both text encoders: bfloat16 is another weight"
    assert record.quality["fid_dense"].value > 0 and record.conditions.stack.dtype == "float32"


def test_the_store_keeps_a_candidate_until_its_files_change(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    candidate = tmp_path / "mine"
    seeded("sd2").save_pretrained(candidate, safe_serialization=True)
    wanted = setup(place, candidate, store=tmp_path / "store")
    first, again = (LocalExecutor(wanted, print).submit(given("mine")).result() for _ in range(2))
    assert again.record.cost.note == REUSED and again.record.quality == first.record.quality
    weights = candidate / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({name: 1.5 * tensor for name, tensor in tensors.items()}, weights, {"format": "pt"})
    other = LocalExecutor(wanted, print).submit(given("mine")).result()
    # The candidate's own decoder makes its pictures.
    assert other.record.cost.note == "" and other.record.quality != first.record.quality
    assert other.record.changed == {"text_encoder": 0, "unet": 0}


def saved(folder: Path, change: Callable[[Any], object]) -> Path:
    pipeline = seeded("sd2")
    change(pipeline)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def larger(pipeline: Any) -> None:
    pipeline.unet.register_to_config(sample_size=16)


def narrower(pipeline: Any) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    pipeline.register_modules(text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP | {"hidden_size": 16})))


def infinite(pipeline: Any) -> None:
    pipeline.unet.conv_in.weight.data[0] = torch.inf


def finer(pipeline: Any) -> None:
    from tests.pipelines import autoencoder

    more = {"block_out_channels": (16,), "down_block_types": ("DownEncoderBlock2D",)}
    pipeline.register_modules(vae=type(autoencoder()).from_config(dict(autoencoder().config) | more | {
        "up_block_types": ("UpDecoderBlock2D",)}))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (larger, r"has latents \(4, 16, 16\), and target has \(4, 8, 8\): their pictures do not compare"),
        (finer, r"has pixels per latent 1, and target has 2: their pictures do not compare"),
        (narrower, r"target cannot make pictures \(.*\); check that the parts of the pipeline fit each other"),
        (infinite, r"unet has NaN or Inf in 1 of "),
    ],
)
def test_what_does_not_fit_is_refused_by_name_before_anything_runs(
    place: Path, tmp_path: Path, change: Callable[[Any], object], said: str
) -> None:
    bench = Workbench(setup(place, f"mine={saved(tmp_path / 'wrong', change)}"))
    with pytest.raises(HarnessError, match=rf"^--candidate mine: .*{said}"):
        bench.warm_up([DENSE, given("mine")])


def test_another_class_and_an_unknown_candidate_are_refused(place: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        stable_diffusion_xl().save_pretrained(tmp_path / "xl", safe_serialization=True)
    bench = Workbench(setup(place, tmp_path / "xl"))
    with pytest.raises(HarnessError, match=r"^--candidate xl: .*xl is a StableDiffusionXLPipeline, and target is a "):
        bench.warm_up([given("xl")])
    with pytest.raises(
        HarnessError, match=r"^--candidate mine is missing, and a case needs it; give --candidate mine=DIR"
    ):
        bench.warm_up([given("mine")])


def test_a_scorer_that_is_the_candidate_s_text_encoder_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench(setup(place, f"mine={place / 'half'}"))
    _ = bench.scorer

    def own(self: Scorer, encoder: torch.nn.Module) -> None:
        raise HarnessError("--scorer has the text encoder that is pruned")

    monkeypatch.setattr(type(bench.scorer), "refuse", own)
    with pytest.raises(HarnessError, match=r"^--candidate mine: --scorer has the text encoder"):
        bench.warm_up([given("mine")])
