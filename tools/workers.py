"""How fast workers of `--executor ray` with one thread each are, against one process with one thread, on `scenes`.

    python tools/workers.py [--workers 1 2] [--captions 16]

Prints a line per run: start-up apart, wall time and CPU time of the dense case and five cases of magnitude, and how
busy the machine was. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.case import Case
from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool

if TYPE_CHECKING:
    from harness.execution.executor import Executor

CASES = [Case("scenes"), *(Case("scenes", "unet", "magnitude", "all", (level / 10,)) for level in (1, 3, 5, 7, 9))]


def processor(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have taken, in seconds."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def row(name: str, executor: Executor, started: float) -> str:
    """Run the cases, and return a line of the table. started: when the executor was begun."""
    executor.plan(CASES)
    _ = executor.bench.texts
    pids = [os.getpid()]
    if hasattr(executor, "_pool"):
        from harness.execution.ray_worker import Outside

        pool = executor._pool
        pids += [pool.got(one.actor.software.remote(Outside.here())).pid for one in vars(executor)["_idle"]]
    start, before = time.perf_counter(), processor(pids)
    for future in [executor.submit(case) for case in CASES]:
        future.result()
    wall, used = time.perf_counter() - start, processor(pids) - before
    executor.close()
    return f"| {name} | {start - started:.0f} | {wall:.1f} | {used:.1f} | {os.getloadavg()[0]:.1f} |"


def show(options: argparse.Namespace) -> int:
    """Print the table."""
    import torch

    from harness.execution.executor import Cluster, Setup
    from harness.execution.local import LocalExecutor
    from harness.execution.ray_executor import RayExecutor
    from harness.workloads.scenes import scenes

    torch.set_num_threads(1)
    print("| run | start-up, s | wall, s | CPU, s | load of the machine |\n|---|---|---|---|---|", flush=True)
    setup = Setup(scenes(options.captions), "cpu")
    print(row("one process", LocalExecutor(setup, lambda _: None), time.perf_counter()), flush=True)
    for workers in options.workers:
        started = time.perf_counter()
        shared = Setup(setup.workload, "cpu", cluster=Cluster(workers=workers, threads=1))
        print(row(f"Ray, workers: {workers}", RayExecutor(shared, lambda _: None), started), flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--workers", type=count, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--captions", type=count, default=16, metavar="N")
    return guarded(lambda: show(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
