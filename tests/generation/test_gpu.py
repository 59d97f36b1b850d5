"""What a run does, on a GPU that is pretended: nothing is left behind on the CPU, and results are the same."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.case import Case
from harness.execution.executor import Setup
from harness.execution.local import LocalExecutor
from harness.pruning import calibration_file
from harness.pruning.calibration import calibrate
from harness.pruning.packages import recalibration
from harness.pruning.prune import prune
from harness.record import Record
from harness.surgery.census import census
from harness.surgery.masks import keep_digest, masked
from harness.targets.resolve import load, resolve
from harness.workloads.scenes import scenes
from harness.workloads.user import user
from harness.workloads.workload import Workload
from pruners import METHODS
from tests.pipelines import COMPONENTS, save_clip_scorer, save_coco, save_pictures, seeded
from tests.pretend_gpu import OnGpu, pretend_gpu

DEVICES = ("cpu", "cuda:0")
FAMILIES = ("sd2", "sdxl", "sd3", "pixart_alpha", "sana")
# T5 has one embedding under two names: moved to the pretended GPU, the embedding becomes two.
T5 = {"sd3": "text_encoder_3", "pixart_alpha": "text_encoder"}


def test_what_is_pretended() -> None:
    with pretend_gpu():
        here, there = torch.arange(4.0), torch.arange(4.0, device="cuda:0")
        assert isinstance(there, OnGpu) and there.device == torch.device("cuda", 0) and there.sum().item() == 6
        for meet in (lambda: here + there, lambda: torch.where(there > 1, there, here), lambda: there[here > 1] + here):
            with pytest.raises(RuntimeError, match="same device"):
                meet()
        with pytest.raises(RuntimeError, match="same device"):
            there[:] = here
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(2, device="cuda:0", generator=torch.Generator())
        with pytest.raises(RuntimeError, match="not supported"):
            there.numpy()
        with pytest.raises(RuntimeError, match="indexed tensor"):
            here[there > 1]
        assert torch.equal(there[here > 1].cpu(), here[here > 1])
        there[1:] += 1
        assert there.tolist() == [0, 2, 3, 4]
        assert torch.equal(torch.nn.Linear(4, 4).to("cuda:0")(there).cpu() * 0, here * 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    for family in FAMILIES:
        seeded(family).save_pretrained(folder / family, safe_serialization=True)
    save_clip_scorer(folder / "scorer")
    save_coco(folder / "captions.json", 40)
    save_pictures(folder / "pictures", 6)
    return folder


def on(device: str) -> AbstractContextManager[None]:
    """Return what a run on the device needs around it: attention that is made of the same operations on both."""
    return pretend_gpu() if device != "cpu" else sdpa_kernel(SDPBackend.MATH)


def records(workload: Workload, cases: list[Case], batch_size: int) -> list[list[Record]]:
    """Return the records of the cases, on the CPU and on the pretended GPU."""
    made = []
    for device in DEVICES:
        with on(device):
            executor = LocalExecutor(Setup(workload, device, batch_size), lambda _: None)
            executor.plan(cases)
            assert executor.bench.target.denoiser.device == torch.device(device)
            made.append([executor.submit(case).result().record for case in cases])
    return made


def same(ours: Record, theirs: Record) -> None:
    """Check that two records differ by rounding only in what is measured, beside time and memory."""
    for name in ours.components.keys() - {T5.get(ours.case.target)}:
        assert ours.components[name] == theirs.components[name], name
    assert ours.components.keys() == theirs.components.keys()
    assert (ours.keep, ours.degenerate, ours.workload) == (theirs.keep, theirs.degenerate, theirs.workload)
    assert ours.quality.keys() == theirs.quality.keys()
    for name, figure in ours.quality.items():
        assert theirs.quality[name].value == pytest.approx(figure.value, rel=2e-3, abs=1e-3), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipeline_of_the_users(place: Path, family: str) -> None:
    workload = user(
        resolve(str(place / family)), place / "captions.json", 5, scorer=str(place / "scorer"),
        reference=place / "pictures", steps=2,
    )  # fmt: skip
    methods = "sparsegpt", "owl_wanda", "magnitude"
    pruned = zip(COMPONENTS[family][-2:] * 2, methods, strict=False)
    cases = [Case(family), *(Case(family, component, method, "all", (0.5,)) for component, method in pruned)]
    here, there = records(workload, cases, 4)
    for ours, theirs in zip(here, there, strict=True):
        same(ours, theirs)
    assert there[0].cost.tensor_megabytes is not None and there[0].cost.tensor_megabytes > 0


def test_the_embedded_model() -> None:
    cases = [
        Case("scenes"),
        Case("scenes", "both", "magnitude", "all", (0.5, 0.3)),
        Case("scenes", "unet", "random", "all", (0.1,)),
    ]
    for ours, theirs in zip(*records(scenes(3), cases, 2), strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_statistics_from_a_file(place: Path, tmp_path: Path, method: str) -> None:
    kept = []
    for device in DEVICES:
        with on(device):
            target = load(resolve(str(place / "sd2")), torch.device(device))
            path = tmp_path / "statistics"
            texts = ["a dog", "a cat"]
            calibration_file.save(calibrate(target, ["text_encoder"], "all", texts, True, sums=True), path)
            case = Case("x", "text_encoder", method, "all", (0.5,))
            pruning = prune(target, case, calibration_file.load(path).components, recalibration(target, texts))
            assert all(p.weight.device == p.keep.device == target.device for p in pruning["text_encoder"].values())
            with masked(target.components, pruning):
                kept.append((keep_digest(pruning), census(target.components, "all")))
    assert kept[0] == kept[1]
