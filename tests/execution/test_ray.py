"""Cases on Ray are those of one process, whatever dies. Real workers on this machine; skipped without Ray."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution import queue
from harness.execution.executor import Cluster, Setup
from harness.execution.local import LocalExecutor
from harness.execution.outcome import Outcome
from harness.workloads.scenes import scenes

# Ray then keeps to the loopback address. It reads this when it is imported.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
ROOT = Path(__file__).parents[2]
SETUP = Setup(scenes(6), "cpu", 3, cluster=Cluster(workers=2, threads=1, captions=3))
CASES = [
    Case("scenes"),
    Case("scenes", "unet", "magnitude", "all", (0.5,)),
    Case("scenes", "text_encoder", "wanda", "all", (0.7,)),
    Case("scenes", "text_encoder", "sparsegpt", "all", (0.5,)),
    Case("scenes", "text_encoder", "sparsegpt", "all", (0.7,)),
]


@pytest.fixture(scope="module")
def executor() -> Iterator[Any]:
    """Two workers of one thread, which have loaded what the cases need."""
    pytest.importorskip("ray")
    import ray

    from harness.execution.ray_executor import RayExecutor
    from harness.execution.ray_pool import importable

    with importable():
        ray.init(
            "local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", object_store_memory=10**8,
            log_to_driver=False, logging_level="ERROR",
        )  # fmt: skip
    made = RayExecutor(SETUP, lambda _: None)
    made.plan(CASES)
    yield made
    made.close()
    ray.shutdown()


@pytest.fixture(scope="module")
def wanted() -> Mapping[Case, Outcome]:
    """The outcomes of one process, without shards."""
    executor = LocalExecutor(SETUP, lambda _: None)
    executor.plan(CASES)
    return {case: executor.submit(case).result() for case in CASES}


def same(ours: Outcome, theirs: Outcome) -> None:
    a, b = ours.record, theirs.record
    assert (a.case, a.workload, a.components, a.degenerate) == (b.case, b.workload, b.components, b.degenerate)
    assert a.conditions.stack == b.conditions.stack and ours.row and len(ours.evidence) == len(theirs.evidence)
    assert a.keep == b.keep or a.case.needs
    for name, figure in a.quality.items():
        assert b.quality[name].value == pytest.approx(figure.value, rel=2e-3, abs=2e-3), (a.case.id, name)


def test_two_workers_give_what_one_process_gives_though_one_is_killed(
    executor: Any, wanted: Mapping[Case, Outcome]
) -> None:
    """The kernel kills a worker at a random moment, as it does where memory runs out. One unit runs twice at most."""
    from harness.execution.ray_worker import Outside

    assert executor.bench.facts(CASES[2]).key == wanted[CASES[2]].record.workload
    pids = [executor._pool.got(hired.actor.software.remote(Outside.here())).pid for hired in executor._idle]
    sent: Counter[object] = Counter()
    send = executor._sent

    def counted(hired: object, unit: queue.Unit) -> object:
        sent[unit.name] += 1
        return send(hired, unit)

    executor._sent = counted
    chance = random.Random(15)
    futures = [executor.submit(case) for case in CASES]
    killing = threading.Timer(chance.uniform(0.2, 3.0), os.kill, (chance.choice(pids), signal.SIGKILL))
    killing.start()
    try:
        for case, future in zip(CASES, futures, strict=True):
            same(future.result(150), wanted[case])
        killing.join()
    finally:
        executor._sent = send
    assert len(sent) == 5 * 3 + 1 + 3, "two parts and an outcome of a case, a calibration, weights of cases with data"
    assert sum(sent.values()) - len(sent) <= 1


def test_a_case_that_kills_its_worker_is_one_error_and_the_others_go_on(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly, harmless = (Case("scenes", "unet", "random", "all", (level,)) for level in (0.2, 0.3))
    monkeypatch.setattr(queue, "RETRIES", 0)
    send = executor._sent

    def deadly_one(hired: Any, unit: Any) -> object:
        ref = send(hired, unit)
        if unit.name.case == deadly:
            executor._pool.ray.kill(hired.actor)
        return ref

    monkeypatch.setattr(executor, "_sent", deadly_one)
    ended, other = executor.submit(deadly), executor.submit(harmless)
    assert other.result(150).record.case == harmless
    with pytest.raises(HarnessError, match=r"unet-random-all-0\.20: its worker ended .* times \(.*\); give workers"):
        ended.result(150)


def test_other_software_is_refused_by_name() -> None:
    pytest.importorskip("ray")
    from harness.execution.ray_worker import Software

    here = Software.here()
    here.refuse(replace(here, pid=1))
    with pytest.raises(HarnessError, match=r"the worker on node7 has torch 1\.0, and this process has .*; install the"):
        here.refuse(replace(here, host="node7", versions={**here.versions, "torch": "1.0"}))
    with pytest.raises(HarnessError, match="node7 has other code of PruneGate than this process, or of a"):
        here.refuse(replace(here, host="node7", code="x"))


def test_a_missing_ray_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.execution import ray_pool

    monkeypatch.setattr(ray_pool, "find_spec", lambda _: None)
    with pytest.raises(HarnessError, match=r"--executor ray needs Ray; run `pip install -e '\.\[ray\]'`"):
        ray_pool.Pool(SETUP)


def test_ray_is_not_imported_unasked() -> None:
    """A contract of the table of executors: only `create` imports one."""
    script = "import harness.plugin, harness.execution.executor, sys; assert not {'ray', 'torch'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_run_on_ray_has_the_verdicts_and_the_order_of_one_process(tmp_path: Path) -> None:
    """The shipped baselines, which one process has measured, are the control."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "pytest", "benchmarks", "--tier=smoke", "--executor=ray", "--workers=2"]
    names = ["both-magnitude-all-0.475+0.35", "text_encoder-wanda-all-0.70"]
    command += ["--threads-per-worker=1", "-k", " or ".join(names)]
    command += [f"--json={tmp_path / 'run.json'}", f"--report={tmp_path / 'report'}", f"--store={tmp_path / 'store'}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("scenes-")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[0] for line in lines] == [f"scenes-{name}" for name in names]
    cases = json.loads((tmp_path / "run.json").read_text())["cases"]
    assert [case["verdict"] for case in cases] == ["PASS", "PASS"] and any((tmp_path / "store").iterdir())
