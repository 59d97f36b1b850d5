"""The workers of a Ray cluster: started, checked before they get work, and ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.case import Case
from harness.errors import HarnessError, install, reason
from harness.execution.arrays import packed, unpacked
from harness.execution.executor import Setup
from harness.execution.ray_worker import Described, Outside, Software, Worker, differences

# CPU threads of a worker where nobody says otherwise; fewer on a smaller machine.
THREADS = 4


@dataclass(frozen=True)
class Hired:
    """A worker."""

    actor: Any
    """Its handle in Ray."""
    name: int
    """Its number. A worker that replaces another has a new one."""


class Pool:
    """Starts or joins Ray, and starts workers there."""

    def __init__(self, setup: Setup) -> None:
        """Start or join Ray, which takes seconds.

        Args:
            setup: The workload, and how to run its cases.

        Raises:
            HarnessError: Ray is not installed, cannot be reached, or has too little for the workers.
        """
        if find_spec("ray") is None:
            raise HarnessError(f"--executor ray needs Ray; {install('ray')}")
        if setup.device.startswith("cuda:"):
            raise HarnessError(f"--torch-device {setup.device}: Ray gives every worker a GPU of its own. Leave it out.")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not setup.cluster.address:
            # Ray then keeps to the loopback address on every system. It reads this when it is imported.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        import ray
        import ray.util

        self.ray: Any = ray
        self.described: Described | None = None
        self._setup, self._hired, self._own = setup, 0, not ray.is_initialized()
        self.threads = setup.cluster.threads or min(THREADS, os.cpu_count() or 1)
        if self._own:
            self._start()
        ray.util.register_serializer(torch.Tensor, serializer=packed, deserializer=unpacked)
        try:
            self._gpus, self.count = self._counted()
        except HarnessError:
            self.close(())
            raise

    def _start(self) -> None:
        cluster = self._setup.cluster
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if not cluster.address:
            cpus = max(os.cpu_count() or 1, (cluster.workers or 1) * self.threads)
            options |= {"include_dashboard": False, "num_cpus": cpus, "_node_ip_address": "127.0.0.1"}
        try:
            with importable():
                self.ray.init(address=cluster.address or "local", **options)
        except Exception as error:
            # Where a node takes too long to start, Ray raises nothing more special, and leaves processes.
            self.ray.shutdown()
            where = f"ray://{cluster.address}" if cluster.address else "ray"
            raise HarnessError(
                f"--executor {where} cannot start ({reason(error)}); check the address with `ray status`"
            ) from error

    def _counted(self) -> tuple[bool, int]:
        """Return whether workers have a GPU each, and how many workers there are."""
        there, cluster = self.ray.cluster_resources(), self._setup.cluster
        gpus, cpus = 0 if self._setup.device == "cpu" else int(there.get("GPU", 0)), int(there.get("CPU", 0))
        if self._setup.device == "cuda" and not gpus:
            raise HarnessError("--torch-device cuda: Ray has no GPU; leave it out, or start Ray with --num-gpus")
        most = gpus or cpus // self.threads
        count = cluster.workers or most
        if not 0 < count <= most:
            what = f"{gpus} GPUs" if gpus else f"{cpus} CPUs, with {self.threads} for each worker"
            raise HarnessError(
                f"--workers {count or 1} is too many for {what}; give fewer --workers or --threads-per-worker"
            )
        return gpus > 0, count

    def hire(self) -> tuple[Hired, Any]:
        """Start a worker. Return it, and the reference of its `Software`."""
        resources = {"num_cpus": self.threads if not self._gpus else 1, "num_gpus": int(self._gpus)}
        actor = self.ray.remote(Worker).options(**resources, max_restarts=0).remote(self.threads)
        self._hired += 1
        return Hired(actor, self._hired), actor.software.remote(Outside.here())

    def load(self, hired: Hired, software: Software, planned: Sequence[Case]) -> Any:
        """Have a worker load the workload. Return the reference of its `Described`.

        Raises:
            HarnessError: The worker has other versions or other code.
        """
        Software.here().refuse(software)
        setup = replace(self._setup, device="cuda") if self._gpus else self._setup
        return hired.actor.load.remote(setup, list(planned), str(Path.cwd()))

    def check(self, described: Described) -> None:
        """Compare a worker with the first one. Raises HarnessError where device, numerics or files differ."""
        first = self.described = self.described or described
        wrong = differences(first, described)
        if wrong:
            raise HarnessError(
                f"--executor ray: the workers on {described.software.host} and {first.software.host} differ in "
                f"{', '.join(wrong)}; run on machines of one kind, with the same files"
            )

    def start_all(self, planned: Sequence[Case]) -> list[Hired]:
        """Start all workers, and wait until each has loaded the workload.

        Raises:
            HarnessError: A worker differs, ends, or cannot load something.
        """
        hired = [self.hire() for _ in range(self.count)]
        loading = [(worker, self.load(worker, self.got(ref), planned)) for worker, ref in hired]
        for _, ref in loading:
            self.check(self.got(ref))
        return [worker for worker, _ in loading]

    def got(self, ref: Any) -> Any:
        """Return the value of a reference. An error of ours is raised as it was."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(ref)
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, HarnessError) else error from None
        except errors.RayError as error:
            raise HarnessError(f"--executor ray: a worker has ended ({said(error)}); run the command again") from error

    def close(self, workers: Sequence[Hired]) -> None:
        """End workers, and Ray where this process started it."""
        for worker in workers:
            self.ray.kill(worker.actor)
        if self._own:
            self.ray.shutdown()


def said(error: Exception) -> str:
    """Return why a worker ended, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "memory" in line.lower()), lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def importable() -> Iterator[None]:
    """Let processes that the body starts import what this process can import."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
