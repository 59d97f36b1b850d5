"""The process of a Ray worker: one workbench, and the jobs that it is told to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from harness import digests
from harness.case import Case
from harness.errors import HarnessError
from harness.execution import sources
from harness.execution.arrays import packed, unpacked
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.levels import Solved
from harness.execution.outcome import Outcome
from harness.execution.parts import Part, outcome
from harness.execution.run import Caches, part, solve
from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.pruning.calibration import Calibration
from pruners import METHODS, Method

PACKAGES = ("prunegate", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Software:
    """Versions and code. A run has one of each, on all its machines."""

    versions: Mapping[str, str]
    """Package → full version."""
    code: str
    """Digest of the source files that results depend on, those of methods and metrics from outside included."""
    host: str
    """The name of the machine."""
    pid: int
    """The process."""

    @staticmethod
    def here() -> Software:
        """Return the software of this process."""
        code = digests.of_value([sources.digest(__name__), sources.outside(_functions())])
        return Software({name: version(name) for name in PACKAGES}, code, socket.gethostname(), os.getpid())

    def refuse(self, other: Software) -> None:
        """Raise HarnessError where a worker has other software."""
        for name, ours in self.versions.items():
            theirs = other.versions.get(name, "missing")
            if ours != theirs:
                raise HarnessError(
                    f"--executor ray: the worker on {other.host} has {name} {theirs}, and this process has {ours}; "
                    "install the same on every machine"
                )
        if self.code != other.code:
            raise HarnessError(
                f"--executor ray: the worker on {other.host} has other code of PruneGate than this process, or of a "
                "method or metric from outside; install the same commit on every machine"
            )


def _functions() -> list[str | Callable[..., object]]:
    given = [function for method in METHODS.values() for function in (method.prune, method.refine) if function]
    return [*given, *(metric.measure for metric in METRICS.values())]


@dataclass(frozen=True)
class Outside:
    """Methods and metrics that were registered from outside of PruneGate."""

    methods: Mapping[str, Method]
    """By name."""
    metrics: Mapping[str, Metric]
    """By name."""

    @staticmethod
    def here() -> Outside:
        """Return those of this process."""
        methods = {name: method for name, method in METHODS.items() if sources.outside([method.prune])}
        metrics = {name: metric for name, metric in METRICS.items() if sources.outside([metric.measure])}
        return Outside(methods, metrics)


@dataclass(frozen=True)
class Described:
    """What a worker says of itself when it has loaded the workload."""

    software: Software
    """Its versions and code."""
    stack: Stack
    """Its device and numerics."""
    facts: WorkloadFacts
    """The facts of the workload, without calibration."""


class Worker:
    """A Ray actor around a `Workbench`."""

    def __init__(self, threads: int) -> None:
        """Load nothing yet. threads: CPU threads that torch uses."""
        import ray.util
        import torch

        torch.set_num_threads(threads)
        ray.util.register_serializer(torch.Tensor, serializer=packed, deserializer=unpacked)

    def software(self, outside: Outside) -> Software:
        """Return the software of this process. outside: what the controlling process has from outside."""
        METHODS.update(outside.methods)
        METRICS.update(outside.metrics)
        return Software.here()

    def load(self, setup: Setup, planned: Sequence[Case], folder: str) -> Described:
        """Load everything that cases need.

        Args:
            setup: The workload, and how to run its cases.
            planned: The coming cases, in order.
            folder: The controlling process's working folder. Relative paths start there.

        Raises:
            HarnessError: Something cannot be loaded.
        """
        if Path(folder).is_dir():
            os.chdir(folder)
        self._bench = Workbench(setup)
        self._caches = Caches.of(self._bench, planned)
        self._bench.warm_up(planned)
        facts = self._bench.facts(Case(setup.workload.name))
        return Described(Software.here(), self._bench.stack, facts)

    def calibrate(self, by_steps: bool) -> tuple[Calibration, bool]:
        """Return the calibration for the planned cases, and True: a second object, which is small.

        Raises:
            HarnessError: The statistics do not fit into memory, not even for one case.
        """
        return self._caches.calibrations.shared(by_steps, _quiet), True

    def prune(self, case: Case, *calibrations: Calibration) -> tuple[Solved, bool]:
        """Return the pruned weights of a case, and True. Arguments and errors as for `part`."""
        self._keep(calibrations)
        return solve(case, self._bench, self._caches, _quiet), True

    def part(
        self, case: Case, captions: tuple[int, int], solved: Solved | None, *calibrations: Calibration
    ) -> Part | Outcome:
        """Return a part of a case, or its whole outcome where the store has it.

        Args:
            case: The case.
            captions: The numbers of the first caption and of the caption after the last one.
            solved: The case's pruned weights; None: they are made here.
            calibrations: The results of `calibrate` that the case reads.

        Raises:
            HarnessError: The case cannot run.
        """
        self._keep(calibrations)
        return part(
            case, self._bench, self._caches, _quiet, captions=captions, solved=solved, null=case.is_dense
        )  # fmt: skip

    def outcome(self, parts: Sequence[Part], dense: Outcome | None) -> Outcome:
        """Return the outcome of a case from all its parts. dense: the dense outcome; None for the dense case itself.

        Raises:
            HarnessError: A figure cannot be computed, or the store cannot be written.
        """
        return outcome(parts, self._bench, dense, self._caches.store)

    def _keep(self, calibrations: Sequence[Calibration]) -> None:
        for calibration in calibrations:
            self._caches.calibrations.keep(calibration)


def _quiet(_: str) -> None:
    """Show nothing: the controlling process says how far the run is."""


def differences(first: Described, other: Described) -> list[str]:
    """Return the names of the facts in which a worker differs from the first one."""
    ours, theirs = ({**asdict(one.facts), **asdict(one.stack)} for one in (first, other))
    return [name for name, value in ours.items() if theirs[name] != value]
