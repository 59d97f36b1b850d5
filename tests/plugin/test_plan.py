"""`--plan`: the cost of a run before it starts. The controls are the reference study's figures, and real pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.matrix import quality_cases
from harness.case import Case
from harness.components import BOTH
from harness.cost import estimate
from harness.errors import HarnessError
from harness.execution.executor import Cluster
from harness.generation.generate import generate
from harness.plugin import plan
from harness.targets.outline import outline
from harness.targets.resolve import load, resolve
from harness.targets.spec import PROTOCOLS, TargetSpec
from harness.targets.target import Target
from harness.workloads.scenes import scenes
from harness.workloads.user import user
from harness.workloads.workload import Workload
from tests.pipelines import seeded


def planned(workload: Workload, cases: list[Case], **more: Any) -> list[str]:
    settings: Any = SimpleNamespace(
        workload=lambda target: workload, batch_size=32, images=None, store=None, rate=None, device="cpu",
        executor="local", cluster=Cluster(),
    )  # fmt: skip
    vars(settings).update(more)
    return list(plan.lines(settings, workload.name, cases))


def test_the_studys_grid_takes_134_million_tflop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study: 162 cases, 10,000 captions, 83 TFLOP a picture. A batch of 2 keeps the count of tensors short."""
    file = tmp_path / "captions.txt"
    file.write_text("".join(f"caption {i}\n" for i in range(10_000)))
    workload = user(resolve("sd2_untrained"), file, 10_000, scorer="none", protocol="paper")
    cases = [c for c in quality_cases("sd2_untrained", BOTH, "full") if c.is_dense or c.layers == "linear"]
    monkeypatch.setattr("harness.targets.resolve.load", lambda *_: pytest.fail("weights are loaded"))
    said = planned(workload, cases, rate=100.0, images=tmp_path, batch_size=2)
    assert said[1] == "  162 cases × 10,000 captions = 1,620,000 pictures × 83.0 TFLOP = 134.5 million TFLOP"
    (row,) = (line.split() for line in said if line.split()[:2] == ["unet", "magnitude"])
    assert row[2:4] == ["17", "170,000"] and float(row[4].replace(",", "")) == pytest.approx(170_000 * 83, rel=1e-3)
    assert row[5:] == ["39.2", "hours"]
    assert "GB of weights" in said[-3] and " 5.16 GB of weights" in said[-3]
    assert said[-2] == "  disk: up to 1,274.0 GB of pictures"
    # 163 units: the dense pictures are made twice.
    assert said[-1].startswith("  time: 376 hours with 1 worker, at 100 TFLOP/s each")


def test_a_case_is_divided_among_workers_of_ray_alone() -> None:
    settings: Any = SimpleNamespace(executor="local", cluster=Cluster(workers=64), rate=100.0)
    for count, longest in ((63, "4.61 hours"), (64, "4.61 hours"), (189, "6.92 hours")):
        cases = [Case("sd2", "unet", "magnitude", "all", (0.001 * i,)) for i in range(1, count + 1)]
        assert plan.total_time(settings, cases, 10_000, 0.8303).startswith(f"{longest} with 64 workers, at 100 TFLOP/s")
    settings.executor = "ray"
    assert plan.total_time(settings, cases[:62], 10_000, 0.8303).startswith("2.31 hours with 64 workers")


def test_a_small_target_is_timed_and_extended_to_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that moves by 2 seconds a batch and 3 seconds a step, a picture of scenes takes 26 / 32 seconds."""
    now = [0.0]

    def pictures(target: Target, steps: int, count: int) -> torch.Tensor:
        now[0] += 2 + 3 * steps
        return torch.zeros(count, 3, 8, 8)

    cases = [Case("scenes"), *(Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.3, 0.5, 0.7))]
    monkeypatch.setattr(estimate, "_pictures", pictures)
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    said = planned(scenes(32), cases, cluster=Cluster(workers=2))
    # The dense pictures are made twice, so that two of five batches are one worker's, and three the other's.
    assert said[-1].startswith("  time: 78 seconds with 2 workers, 0.812 s a picture, timed now")
    assert said[-2] == "  disk: no pictures are kept (--images and --store keep them)"
    longer = replace(outline(resolve("scenes")), protocol=replace(PROTOCOLS["scenes"], num_inference_steps=50))
    assert estimate.seconds(longer, 4, torch.device("cpu")) == (2 + 3 * 50) / 4


def test_a_folder_is_counted_as_its_pictures_are_made(tmp_path: Path) -> None:
    """The reference counts the operations while a picture is made with weights."""
    seeded("sdxl").save_pretrained(tmp_path / "p", safe_serialization=True)
    spec = resolve(str(tmp_path / "p"))
    protocol = replace(PROTOCOLS["pr"], num_inference_steps=3)
    counted = estimate.estimate(replace(outline(spec), protocol=protocol), 2)
    target = replace(load(spec, torch.device("cpu")), protocol=protocol)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        generate(target, [estimate.CAPTION], 1, lambda _: None)
    assert counted.operations == pytest.approx(counter.get_total_flops(), rel=1e-3)
    parts = (part for part in target.pipeline.components.values() if isinstance(part, nn.Module))
    assert counted.weights == sum(p.nbytes for part in parts for p in part.parameters())


def test_a_pipeline_that_reads_values_is_refused(tmp_path: Path) -> None:
    seeded("pixart_sigma").save_pretrained(tmp_path / "p", safe_serialization=True)
    empty = replace(outline(resolve(str(tmp_path / "p"))), protocol=PROTOCOLS["pr"])
    with pytest.raises(HarnessError, match=r"--plan cannot count p .*; leave --plan out"):
        estimate.estimate(empty, 2)


def test_a_large_target_needs_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SMALL", 10)
    assert "unknown; give --rate X" in planned(scenes(2), [Case("scenes")])[-1]


def test_a_target_without_local_files_is_refused() -> None:
    workload: Any = SimpleNamespace(
        name="m", target=TargetSpec("m", "hub", "a/m"), protocol=PROTOCOLS["pr"], captions=(1, 2)
    )
    with pytest.raises(HarnessError, match="a/m is a Hub id; give a folder that holds it"):
        planned(workload, [Case("m")])


def test_nothing_runs(stored: pytest.Pytester) -> None:
    done = stored.runpytest_subprocess("--plan", "--rate", "1", "-k", "magnitude")
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["plan of scenes: *", "  2 cases × 64 captions = 128 pictures *", "  time: *"])
    assert not (stored.path / "prunegate-report").exists() and "PASS" not in done.stdout.str()
