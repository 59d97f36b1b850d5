"""The workbench for a pipeline of the user's, without pytest around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.external import ExternalEngine, Source
from harness.pipeline import run
from harness.record import REUSED
from harness.targets import TARGETS
from harness.targets.folder import load
from tests.pipelines import save_clip_judge, save_coco, seeded

CPU = torch.device("cpu")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setitem(TARGETS, "tiny", "tests.pipelines:tiny")
    save_coco(tmp_path / "captions.json", 40)
    save_clip_judge(tmp_path / "scorer")
    return Source(tmp_path / "captions.json", str(tmp_path / "scorer"), None, "pr", 1)


def made(source: Source, captions: int, batch_size: int = 2, folder: Path | None = None) -> ExternalEngine:
    return ExternalEngine("tiny", folder, source, "cpu", captions, batch_size, lambda _: None)


def test_a_target_that_is_built_here_is_measured_like_a_folder(source: Source) -> None:
    engine = made(replace(source, dtype="bfloat16"), 3)
    engine.warm_up()
    done = run(engine.dense_case(), engine)
    assert engine.target.denoiser.dtype == torch.bfloat16 and done.images is not None and len(done.images) == 3
    assert engine.workload(engine.dense_case())["dtype"] == done.record.conditions["dtype"] == "bfloat16"
    assert done.record.case == "tiny-none-dense-none-0.00" and done.record.quality["drift"].n == 3


def test_pictures_beyond_a_row_are_let_go_unless_they_are_wanted(source: Source) -> None:
    engine = made(source, 14, 7)
    for wanted, count in ((False, 12), (True, 14)):
        engine.keeps_pictures = wanted
        done = run(engine.dense_case(), engine)
        assert done.images is not None and len(done.images) == count and done.record.quality["drift"].n == 14


def test_there_may_be_more_captions_than_the_embedded_model_has(tmp_path: Path, source: Source) -> None:
    save_coco(tmp_path / "many.json", 1200)
    many = replace(source, captions=tmp_path / "many.json")
    assert len(made(many, 1100).captions) == 1100
    with pytest.raises(HarnessError, match="has 2400 captions, --captions asks for 2401"):
        made(many, 2401)


def test_captions_that_are_wanted_for_calibration_are_missed_before_anything_is_generated(source: Source) -> None:
    engine = made(source, 40)
    engine.planned = [engine.dense_case(), Case("tiny", "unet", "magnitude", "all", (0.5,))]
    engine.warm_up()
    engine.planned = [*engine.planned, Case("tiny", "unet", "wanda", "all", (0.5,))]
    with pytest.raises(HarnessError, match="has no caption left to calibrate on"):
        engine.warm_up()


def test_what_does_not_fit_for_all_cases_is_calibrated_for_one(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = made(source, 4)
    wanda, solved = (Case("tiny", "unet", method, "all", (0.5,)) for method in ("wanda", "sparsegpt"))
    text = Case("tiny", "text_encoder", "owl_wanda", "all", (0.5,))
    engine.planned = [wanda, solved, text]
    monkeypatch.setattr("harness.calibration.available", lambda device: 10**4)
    statistics = engine.statistics(wanda)
    assert statistics is not None and [*statistics] == ["unet"]
    assert all(layer.gram is None for layer in statistics["unet"].values())
    assert run(text, engine).record.exact["components"]["text_encoder"]["sparsity_targeted"] > 0.4
    with pytest.raises(HarnessError, match="choose a method without them"):
        engine.statistics(solved)
    monkeypatch.undo()
    assert engine.statistics(solved)["unet"] is not None  # type: ignore[index]


def test_statistics_go_to_the_cpu_where_it_has_room(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = made(source, 4)
    engine.statistics(Case("tiny", "unet", "sparsegpt", "all", (0.5,)))
    taken = engine._calibration
    assert taken is not None
    moved = taken.on_cpu()
    shared = {name: id(stats) for name, stats in taken.components["unet"].items()}
    assert len(set(shared.values())) == len({id(stats) for stats in moved.components["unet"].values()}) < len(shared)
    assert all(torch.equal(s.gram, moved.components["unet"][n].gram) for n, s in taken.components["unet"].items())
    monkeypatch.setattr("harness.calibration.available", lambda device: 10**4)
    assert taken.on_cpu() is taken


def limit(monkeypatch: pytest.MonkeyPatch, kind: type, most: int, said: str = "CUDA out of memory") -> list[int]:
    """Have a pipeline run out of memory with more than `most` captions; return what it is called with."""
    call, seen = kind.__call__, []

    def limited(self: object, latents: torch.Tensor, **more: object) -> object:
        seen.append(len(latents))
        if len(latents) > most:
            raise torch.OutOfMemoryError(said)
        return call(self, latents=latents, **more)

    monkeypatch.setattr(kind, "__call__", limited)
    return seen


def test_calibration_halves_its_batches(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("tiny", "unet", "wanda", "all", (0.5,))
    wanted = made(source, 4, 8).statistics(case)
    engine = made(source, 4, 8)
    seen = limit(monkeypatch, type(engine.target.pipeline), 2)
    statistics = engine.statistics(case)
    assert seen[:4] == [1, 8, 4, 2] and wanted is not None and statistics is not None
    for name, layer in statistics["unet"].items():
        assert layer.rows == wanted["unet"][name].rows
        torch.testing.assert_close(layer.squares, wanted["unet"][name].squares, rtol=1e-4, atol=1e-6)
    limit(monkeypatch, type(engine.target.pipeline), 0)
    with pytest.raises(HarnessError, match="not enough memory"):
        made(source, 4, 2).statistics(case)


def test_too_little_memory_to_prune_is_one_message(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("pruners.magnitude.prune", full)
    engine = made(source, 4)
    with pytest.raises(HarnessError, match="not enough memory on cpu to prune by magnitude"):
        run(Case("tiny", "unet", "magnitude", "all", (0.5,)), engine)


def test_what_a_run_needed_that_did_not_fit_is_not_kept(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = made(source, 4, 4)
    kind = type(engine.target.pipeline)
    call = kind.__call__

    def limited(self: object, latents: torch.Tensor, **more: object) -> object:
        if len(latents) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, latents=latents, **more)

    monkeypatch.setattr(kind, "__call__", limited)
    first = run(engine.dense_case(), engine).record
    assert first.tensor_megabytes is None and not first.seconds and "batches of 4 did not fit" in first.peak_of
    again = run(engine.dense_case(), engine).record
    assert again.tensor_megabytes and again.conditions["batch_size"] == 2 and again.peak_of != REUSED


def test_what_does_not_fit_at_all_is_one_message(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("harness.external.load_scorer", full)
    with pytest.raises(HarnessError, match="tiny and what judges it do not fit into the memory of cpu"):
        made(source, 4).warm_up()


def test_a_safety_checker_blackens_nothing(tmp_path: Path, source: Source) -> None:
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pipeline = seeded("sd1")
    pipeline.register_modules(
        safety_checker=StableDiffusionSafetyChecker(CLIPConfig(text_config=size, vision_config=size)),
        feature_extractor=CLIPImageProcessorPil(),
    )
    pipeline.save_pretrained(tmp_path / "pipeline", safe_serialization=True)
    engine = made(source, 3, folder=tmp_path / "pipeline")
    assert engine.target.pipeline.safety_checker is None
    assert run(engine.dense_case(), engine).record.degenerate == 0
    # A pruned pipeline is saved with it, as it came.
    assert load(tmp_path / "pipeline", CPU).pipeline.safety_checker is not None
