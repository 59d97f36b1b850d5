"""One case from the workbench to its outcome, on small pipelines, without pytest around it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution import run as running
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.local import LocalExecutor
from harness.execution.outcome import Outcome
from harness.execution.pictures import make
from harness.execution.run import Caches, run
from harness.facts import Stack
from harness.generation.generate import Pictures
from harness.record import REUSED
from harness.targets.resolve import resolve
from harness.workloads.workload import Workload
from pruners.types import Pruned
from tests.pipelines import save_coco, seeded

DENSE = Case("tiny")
HALF = Case("tiny", "unet", "magnitude", "all", (0.5,))


def alone(case: Case, bench: Workbench, planned: tuple[Case, ...] = ()) -> Outcome:
    """Run a case, and before it the dense one where it needs that."""
    caches = Caches.of(bench, planned)
    dense = None if case.is_dense else run(Case(case.target), bench, None, caches, print)
    return run(case, bench, dense, caches, print)


def test_a_target_that_is_built_here_is_measured_like_a_folder(workload: Callable[..., Workload]) -> None:
    bench = Workbench(Setup(workload(3, dtype="bfloat16"), "cpu", 2))
    bench.warm_up([DENSE])
    outcome = alone(DENSE, bench)
    assert bench.target.denoiser.dtype == torch.bfloat16
    assert outcome.record.stack.dtype == "bfloat16"
    assert outcome.record.case == DENSE and outcome.record.quality["drift"].n == 3
    assert outcome.record.workload == bench.facts(DENSE).key


def test_pictures_are_let_go_unless_they_are_wanted(workload: Callable[..., Workload]) -> None:
    setup = Setup(workload(14), "cpu", 7)
    assert alone(DENSE, Workbench(setup)).pictures is None
    kept = alone(DENSE, Workbench(replace(setup, keeps_pictures=True)))
    assert kept.pictures is not None and kept.pictures.shape == (14, 3, 16, 16)
    assert kept.record.quality["drift"].n == 14


def test_while_pictures_are_made_the_model_alone_holds_the_pruned_weights(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a U-Net of Stable Diffusion 2 is three times in memory: as it is, dense to be restored, and pruned."""
    bench = Workbench(Setup(workload(2), "cpu", 2))
    caches = Caches.of(bench)
    dense = run(DENSE, bench, None, caches, str)
    alive: list[list[object]] = []

    def made(*words: Any) -> Pictures:
        alive.append([thing for thing in gc.get_objects() if type(thing) is Pruned])
        return make(*words)

    monkeypatch.setattr(running, "make", made)
    run(HALF, bench, dense, caches, str)
    assert alive == [[]]


def test_metrics_that_take_pictures_compare_with_the_dense_ones(workload: Callable[..., Workload]) -> None:
    bench = Workbench(Setup(workload(4), "cpu", 4, metrics=("ssim", "psnr")))
    dense, half = alone(DENSE, bench), alone(HALF, bench)
    assert dense.evidence.pictures is not None
    assert dense.record.quality["ssim"].value == pytest.approx(1.0, abs=1e-6)
    assert half.record.quality["ssim"].value < 1 - 1e-5
    assert dense.record.quality["psnr"].value > half.record.quality["psnr"].value
    assert len(half.record.paired["ssim"]) == 4
    assert "ssim" not in alone(DENSE, Workbench(Setup(workload(4), "cpu", 4))).record.quality


def test_a_metric_that_the_workload_cannot_have_is_refused(workload: Callable[..., Workload]) -> None:
    with pytest.raises(HarnessError, match="--metrics kid takes reference_features"):
        Workbench(Setup(workload(4), "cpu", 4, metrics=("kid",))).warm_up([])
    with pytest.raises(HarnessError, match="did you mean ssim"):
        Workbench(Setup(workload(4), "cpu", 4, metrics=("sim",)))


def test_there_may_be_more_captions_than_the_embedded_model_has(
    tmp_path: Path, workload: Callable[..., Workload]
) -> None:
    save_coco(tmp_path / "many.json", 1200)
    assert len(workload(1100, file=tmp_path / "many.json").captions) == 1100
    with pytest.raises(HarnessError, match="--captions 2401 asks for more than the 2400 captions"):
        workload(2401, file=tmp_path / "many.json")


def test_missing_calibration_captions_are_said_before_anything_is_generated(workload: Callable[..., Workload]) -> None:
    bench = Workbench(Setup(workload(40), "cpu", 2))
    bench.warm_up([DENSE, HALF])
    with pytest.raises(HarnessError, match="has no caption left to calibrate on"):
        bench.warm_up([DENSE, HALF, Case("tiny", "unet", "wanda", "all", (0.5,))])


def test_what_does_not_fit_for_all_cases_is_calibrated_for_one(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(Setup(workload(4), "cpu", 2))
    wanda, solved = (Case("tiny", "unet", method, "all", (0.5,)) for method in ("wanda", "sparsegpt"))
    text = Case("tiny", "text_encoder", "owl_wanda", "all", (0.5,))
    calibrations = Caches.of(bench, [wanda, solved, text]).calibrations
    monkeypatch.setattr("harness.pruning.room.available", lambda device: 10**4)
    statistics = calibrations.of(wanda, print)
    assert statistics is not None and [*statistics] == ["unet"]
    assert all(layer.gram is None for layer in statistics["unet"].values())
    assert alone(text, bench, (wanda, solved, text)).record.components["text_encoder"].sparsity_targeted > 0.4
    with pytest.raises(HarnessError, match="choose a method without them"):
        calibrations.of(solved, print)
    monkeypatch.undo()


def limit(monkeypatch: pytest.MonkeyPatch, kind: type, most: int) -> list[int]:
    """Have a pipeline run out of memory with more than `most` captions; return what it is called with."""
    call, sizes = kind.__call__, []

    def limited(self: object, latents: torch.Tensor, **more: object) -> object:
        sizes.append(len(latents))
        if len(latents) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, latents=latents, **more)

    monkeypatch.setattr(kind, "__call__", limited)
    return sizes


def test_calibration_halves_its_batches(workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("tiny", "unet", "wanda", "all", (0.5,))
    bench = Workbench(Setup(workload(4), "cpu", 8))
    wanted = Caches.of(bench).calibrations.of(case, print)
    sizes = limit(monkeypatch, type(bench.target.pipeline), 2)
    statistics = Caches.of(bench).calibrations.of(case, print)
    assert sizes[:4] == [1, 8, 4, 2] and wanted is not None and statistics is not None
    for name, layer in statistics["unet"].items():
        assert layer.rows == wanted["unet"][name].rows
        torch.testing.assert_close(layer.squares, wanted["unet"][name].squares, rtol=1e-4, atol=1e-6)


def test_too_little_memory_to_prune_is_one_message(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("pruners.magnitude.prune", full)
    with pytest.raises(HarnessError, match=r"magnitude-all-0\.50: pruning does not fit into the memory of cpu"):
        alone(HALF, Workbench(Setup(workload(4), "cpu", 4)))


def test_a_halved_batch_is_said_and_changes_nothing_for_later_cases(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench(Setup(workload(4), "cpu", 4))
    sizes = limit(monkeypatch, type(bench.target.pipeline), 2)
    halved = alone(DENSE, bench).record
    assert halved.cost.tensor_megabytes is halved.cost.generate_seconds is None
    assert "batches of 4 did not fit into memory, batches of 2 did" in halved.cost.note
    monkeypatch.undo()
    sizes = limit(monkeypatch, type(bench.target.pipeline), 4)
    whole = alone(DENSE, bench).record
    assert sizes[0] == 4 and whole.cost.tensor_megabytes and not whole.cost.note
    assert whole.conditions == halved.conditions and whole.conditions.batch_size == 4


def test_what_does_not_fit_at_all_is_one_message(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("harness.execution.bench.load_scorer", full)
    with pytest.raises(HarnessError, match="tiny and its scorer do not fit into the memory of cpu"):
        Workbench(Setup(workload(4), "cpu", 4)).warm_up([])


def test_a_safety_checker_blackens_nothing(tmp_path: Path, workload: Callable[..., Workload]) -> None:
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    from harness.targets.resolve import load

    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pipeline = seeded("sd1")
    pipeline.register_modules(
        safety_checker=StableDiffusionSafetyChecker(CLIPConfig(text_config=size, vision_config=size)),
        feature_extractor=CLIPImageProcessorPil(),
    )
    pipeline.save_pretrained(tmp_path / "pipeline", safe_serialization=True)
    bench = Workbench(Setup(workload(3, target=str(tmp_path / "pipeline")), "cpu", 2))
    assert bench.target.pipeline.safety_checker is None
    assert alone(Case("pipeline"), bench).record.degenerate == 0
    # A pruned pipeline is saved with the checker, as it came.
    spec = resolve(str(tmp_path / "pipeline"))
    assert load(spec, torch.device("cpu")).pipeline.safety_checker is not None


def test_caches_never_change_a_result(workload: Callable[..., Workload]) -> None:
    bench = Workbench(Setup(workload(4), "cpu", 4))
    cases = [Case("tiny", "unet", "sparsegpt", "all", (level,)) for level in (0.3, 0.5, 0.7)]
    shared = Caches.of(bench, cases)
    dense = run(DENSE, bench, None, shared, print)
    for case in cases:
        together, single = (run(case, bench, dense, caches, print) for caches in (shared, Caches.of(bench)))
        assert together.record.components == single.record.components
        assert together.record.keep == single.record.keep
        for name, figure in together.record.quality.items():
            assert figure.value == pytest.approx(single.record.quality[name].value, rel=1e-4, abs=1e-4)


def test_the_local_executor_runs_the_dense_case_once(workload: Callable[..., Workload]) -> None:
    told: list[str] = []
    executor = LocalExecutor(Setup(workload(4), "cpu", 4, keeps_pictures=True), told.append)
    executor.plan([DENSE, HALF])
    first, half, again = (executor.submit(case).result() for case in (DENSE, HALF, DENSE))
    assert first.record is again.record and half.record.case == HALF
    assert first.pictures is not None and again.pictures is None
    assert sum("tiny-none-dense-none-0.00" in line and "pictures, step 1/1" in line for line in told) == 4
    # One batch, two of the null arm, and one whose memory is measured.
    broken = executor.submit(Case("tiny", "transformer", "magnitude", "all", (0.5,)))
    assert broken.exception() is not None
    executor.close()


def test_dense_pictures_on_disk_are_the_same(
    workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(workload(4), "cpu", 4, metrics=("ssim",))
    in_memory = LocalExecutor(setup, print).submit(HALF).result()
    monkeypatch.setattr("harness.execution.local.LARGE", 10)
    executor = LocalExecutor(setup, print)
    on_disk = executor.submit(HALF).result()
    assert on_disk.record.quality == in_memory.record.quality


def test_a_kept_case_says_so(tmp_path: Path, workload: Callable[..., Workload]) -> None:
    setup = Setup(workload(4), "cpu", 4, store=tmp_path / "store")
    first = LocalExecutor(setup, print).submit(HALF).result()
    again = LocalExecutor(setup, print).submit(HALF).result()
    assert again.record.quality == first.record.quality and again.row == first.row
    assert again.record.cost.note == REUSED and again.record.cost.seconds is None
    other = LocalExecutor(replace(setup, workload=workload(5)), print).submit(HALF).result()
    assert other.record.cost.note == "", "another number of captions is another case"


def test_a_store_keeps_what_was_asked_for_with_pictures(
    tmp_path: Path, workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(workload(4), "cpu", 4, store=tmp_path / "store", keeps_pictures=True)
    first = LocalExecutor(setup, print).submit(HALF).result()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("generated again")

    monkeypatch.setattr("harness.generation.generate._batch", never)
    again = LocalExecutor(setup, print).submit(HALF).result()
    assert first.pictures is not None and again.pictures is not None and torch.equal(first.pictures, again.pictures)


def test_builds_of_one_version_of_torch_share_a_stack(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with CUDA that runs on a CPU compares with the baselines of the build for CPUs."""
    from harness.execution import bench as module

    def stack(version: str) -> Stack:
        monkeypatch.setattr(module, "version", lambda name: version if name == "torch" else "1.0")
        made: Stack = Workbench.stack.func(bench)  # type: ignore[attr-defined]
        assert bench.conditions.torch_build == version
        return made

    assert stack("2.13.0+cpu") == stack("2.13.0+cu130") == stack("2.13.0")
    assert stack("2.13.0+cpu").key == stack("2.13.0+cu130").key != stack("2.13.1+cpu").key
