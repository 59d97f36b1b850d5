"""`--plan`: the cost of a run before it starts. The controls are the reference study's figures, and a real run."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.matrix import quality_cases
from harness.case import Case
from harness.components import BOTH
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Cluster, Setup
from harness.generation.generate import generate
from harness.plugin import plan
from harness.targets.resolve import resolve
from harness.targets.spec import PROTOCOLS, TargetSpec
from harness.workloads.scenes import scenes
from harness.workloads.user import user
from harness.workloads.workload import Workload


def planned(workload: Workload, cases: list[Case], **more: Any) -> list[str]:
    settings: Any = SimpleNamespace(
        workload=lambda target: workload,
        batch_size=32,
        images=None,
        store=None,
        cluster=Cluster(),
        rate=None,
        device="cpu",
    )
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


def test_the_time_of_a_small_target_is_that_of_a_run() -> None:
    cases = [Case("scenes"), *(Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.3, 0.5, 0.7))]
    bench = Workbench(Setup(scenes(32), "cpu", 32))
    generate(bench.target, bench.texts[:2], 2, lambda _: None)
    start = time.perf_counter()
    generate(bench.target, bench.texts, 32, lambda _: None)
    real = (time.perf_counter() - start) / 32
    said = planned(scenes(32), cases, cluster=Cluster(workers=2))
    took = float(said[-1].partition("workers, ")[2].partition(" s a picture")[0])
    assert 0.5 < took / real < 2
    # The dense pictures are made twice, so that two of five units are one worker's, and three the other's.
    assert said[-1].startswith(f"  time: {plan.duration(3 * 32 * took)}".split(".")[0])
    assert said[-2] == "  disk: no pictures are kept (--images and --store keep them)"


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
