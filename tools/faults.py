"""Kills workers, nodes and the controlling process of `--executor ray` at random moments, and compares the results.

    python tools/faults.py worker|node|driver [--runs 3] [--captions 8] [--seed 0]

`worker`: SIGKILL to one of two workers. `node`: SIGKILL to one of two Ray nodes, with all its processes. `driver`:
SIGKILL to pytest, which is started again with the same `--store`. All on this machine and on the model `scenes`. The
results are compared with those of one process. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.case import Case
from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.execution.ray_executor import RayExecutor
    from harness.record import Record

KINDS = ("worker", "node", "driver")
CASES = [
    Case("scenes"),
    Case("scenes", "both", "magnitude", "all", (0.475, 0.35)),
    Case("scenes", "unet", "random", "all", (0.10,)),
    Case("scenes", "text_encoder", "wanda", "all", (0.70,)),
]
# Seconds that a case may take.
PATIENCE = 300.0


def one_process(captions: int) -> list[Record]:
    """Return the records of one process with one thread."""
    import torch

    from harness.execution.executor import Setup
    from harness.execution.local import LocalExecutor
    from harness.workloads.scenes import scenes

    torch.set_num_threads(1)
    executor = LocalExecutor(Setup(scenes(captions), "cpu", 4), lambda _: None)
    executor.plan(CASES)
    return [executor.submit(case).result().record for case in CASES]


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """Start two nodes of one CPU. Yield their address, and a function that kills the second one."""
    # Ray then keeps to the loopback address. It reads this when it is imported.
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    from harness.execution.ray_pool import importable

    own: dict[str, Any] = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 2 * 10**8}
    with importable():
        cluster = Cluster(initialize_head=True, head_node_args={**own, "include_dashboard": False})
        second = cluster.add_node(**own)
    try:
        yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()


def disturbed(
    captions: int, address: str, after: float, kill: Callable[[RayExecutor, dict[int, int]], None]
) -> tuple[list[Record], int]:
    """Run the cases in two shards each with one kill. Return their records, and how many units ran again."""
    from harness.execution.executor import Cluster, Setup
    from harness.execution.ray_executor import RayExecutor
    from harness.execution.ray_worker import Outside
    from harness.workloads.scenes import scenes

    cluster = Cluster(address, workers=2, threads=1, captions=captions // 2)
    executor = RayExecutor(Setup(scenes(captions), "cpu", 4, cluster=cluster), lambda _: None)
    sent: Counter[object] = Counter()
    send = executor._sent

    def counted(hired: Any, unit: Any) -> object:
        sent[unit.name] += 1
        return send(hired, unit)

    vars(executor)["_sent"] = counted
    try:
        executor.plan(CASES)
        told = {one.name: executor._pool.got(one.actor.software.remote(Outside.here())) for one in executor._idle}
        timer = threading.Timer(after, kill, (executor, {name: software.pid for name, software in told.items()}))
        futures = [executor.submit(case) for case in CASES]
        timer.start()
        records = [future.result(PATIENCE).record for future in futures]
        timer.cancel()
    finally:
        executor.close()
    return records, sum(sent.values()) - len(sent)


def kill_worker(executor: RayExecutor, pids: dict[int, int]) -> None:
    """Send SIGKILL to a worker that is at work."""
    busy = [hired.name for hired, unit in list(executor._flying.values()) if unit is not None and hired.name in pids]
    if busy:
        os.kill(pids[busy[0]], signal.SIGKILL)


def resumed(captions: int, after: float) -> tuple[list[Record], int]:
    """Run pytest, kill it, and run it again. Return the results, and how many cases were taken from the store."""
    from harness.results import read

    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pytest", "benchmarks", "--tier=smoke", f"--captions={captions}"]
        command += ["--executor=ray", "--workers=2", "--threads-per-worker=1", "--batch-size=4"]
        command += [f"--shard-captions={captions // 2}"]
        command += [f"--store={place}/store", f"--report={place}/report", f"--json={place}/run.json", "-q", "-k"]
        command += [" or ".join(case.id.removeprefix("scenes-") for case in CASES)]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        store = Path(place, "store")
        while first.poll() is None and not store.exists():
            time.sleep(0.1)
        time.sleep(after)
        first.kill()
        first.wait()
        kept = len(list(store.glob("*.json")))
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        return [result.record for result in read(Path(place, "run.json")).cases], kept


def largest(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    """Return the largest difference of a figure. Raises HarnessError where cases or counts of weights differ."""
    for a, b in zip(ours, theirs, strict=True):
        if (a.case, a.components) != (b.case, b.components):
            raise HarnessError(f"KIND: {a.case.id} has other counts than {b.case.id} of one process; look for a bug")
    pairs = [(a, b, name) for a, b in zip(ours, theirs, strict=True) for name in a.quality]
    return max(abs(a.quality[name].value - b.quality[name].value) for a, b, name in pairs)


def show(options: argparse.Namespace) -> int:
    """Print a row per run."""
    chance = random.Random(options.seed)
    wanted = one_process(options.captions)
    again = "cases kept" if options.kind == "driver" else "units that ran again"
    print(f"| killed | after, s | {again} | largest difference of a figure | seconds |\n{'|---' * 5}|", flush=True)
    for _ in range(options.runs):
        start, after = time.perf_counter(), chance.uniform(0.5, options.longest)
        if options.kind == "driver":
            records, number = resumed(options.captions, after)
        elif options.kind == "node":
            with two_nodes() as (address, kill):
                records, number = disturbed(options.captions, address, after, partial(_ignoring, kill))
        else:
            records, number = disturbed(options.captions, "", after, kill_worker)
        cells = (options.kind, f"{after:.1f}", number, f"{largest(records, wanted):.4f}")
        print(f"| {' | '.join(map(str, cells))} | {time.perf_counter() - start:.0f} |", flush=True)
    return 0


def _ignoring(kill: Callable[[], None], *_: object) -> None:
    kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--runs", type=count, default=3, metavar="N")
    parser.add_argument("--captions", type=count, default=8, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--longest", type=float, default=15.0, metavar="S", help="the latest moment of a kill")
    return guarded(lambda: show(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
