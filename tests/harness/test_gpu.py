"""What a run does, on a GPU that is pretended: nothing is left behind on the CPU, and results are the same."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness import calibration
from harness.case import Case
from harness.engine import Engine
from harness.external import ExternalEngine, Source
from harness.pipeline import run
from harness.pruning import prune
from harness.record import Record
from harness.surgery.masks import census, keep_digest, masked
from harness.targets.folder import load
from pruners import METHODS
from tests.pipelines import COMPONENTS, save_clip_judge, save_coco, save_pictures, seeded
from tests.pretend_gpu import OnGpu, pretend_gpu

DEVICES = ("cpu", "cuda:0")


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
        assert there.tolist() == [0, 2, 3, 4] and torch.equal(
            torch.nn.Linear(4, 4).to("cuda:0")(there).cpu() * 0, here * 0
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("gpu")
    for family in ("sd2", "sdxl", "sd3"):
        seeded(family).save_pretrained(found / family, safe_serialization=True)
    save_clip_judge(found / "scorer")
    save_coco(found / "captions.json", 40)
    save_pictures(found / "pictures", 6)
    return found


def same(ours: Record, theirs: Record) -> None:
    """Check that two records differ by rounding only in what is measured, beside time and memory."""
    for record in (ours, theirs):
        # T5 has one embedding under two names: moved to what is pretended, it becomes two.
        record.exact["components"].pop("text_encoder_3", None)
        record.parameter_bytes.pop("text_encoder_3", None)
    assert ours.exact == theirs.exact and ours.degenerate == theirs.degenerate
    assert ours.parameter_bytes == theirs.parameter_bytes and ours.workload == theirs.workload
    assert ours.quality.keys() == theirs.quality.keys()
    for name, found in ours.quality.items():
        assert theirs.quality[name].value == pytest.approx(found.value, rel=2e-3, abs=1e-3), name


def on(device: str) -> AbstractContextManager[None]:
    """Return what a run on the device needs around it: attention that is made of the same operations on both."""
    return pretend_gpu() if device != "cpu" else sdpa_kernel(SDPBackend.MATH)


@pytest.mark.parametrize("family", ["sd2", "sdxl", "sd3"])
def test_a_pipeline_of_the_users(place: Path, family: str) -> None:
    source = Source(place / "captions.json", str(place / "scorer"), place / "pictures", "pr", 2)
    methods = "sparsegpt", "owl_wanda", "magnitude"
    pruned = zip(COMPONENTS[family][-2:] * 2, methods, strict=False)
    cases = [Case("x"), *(Case("x", component, method, "all", (0.5,)) for component, method in pruned)]
    found = []
    for device in DEVICES:
        with on(device):
            engine = ExternalEngine("x", place / family, source, device, 5, 4, lambda _: None)
            engine.planned = cases
            engine.warm_up()
            assert engine.target.denoiser.device == torch.device(device)
            found.append([run(case, engine).record for case in cases])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs)
    assert found[1][0].peak_of == "allocated on the GPU" and found[1][0].tensor_megabytes > 0


def test_the_embedded_model() -> None:
    cases = [
        Case("scenes"),
        Case("scenes", "both", "magnitude", "all", (0.5, 0.3)),
        Case("scenes", "unet", "random", "all", (0.1,)),
    ]
    found = []
    for device in DEVICES:
        with on(device):
            engine = Engine("scenes", device, 3, 2)
            found.append([run(case, engine).record for case in cases])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_statistics_from_a_file(place: Path, tmp_path: Path, method: str) -> None:
    kept = []
    for device in DEVICES:
        with on(device):
            target = load(place / "sd2", torch.device(device))
            path = tmp_path / "statistics"
            calibration.save(calibration.calibrate(target, ["text_encoder"], "all", ["a dog", "a cat"], True), path)
            case = Case("x", "text_encoder", method, "all", (0.5,))
            pruning = prune(target, case, calibration.load(path).components)
            assert all(p.weight.device == p.keep.device == target.device for p in pruning["text_encoder"].values())
            with masked(target.components, pruning):
                kept.append((keep_digest(pruning), census(target.components, "all")))
    assert kept[0] == kept[1]
