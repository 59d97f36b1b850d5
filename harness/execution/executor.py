"""The interface between pytest and the code that runs cases, in this process or elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.case import Case
from harness.errors import unknown
from harness.execution import EXECUTORS
from harness.execution.outcome import Outcome
from harness.targets.spec import TargetSpec
from harness.workloads.workload import Workload

if TYPE_CHECKING:
    from harness.execution.bench import Workbench

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """How an executor shares cases out among workers."""

    address: str = ""
    """"auto" or "host:port" of a cluster that runs; "" starts workers on this machine."""
    workers: int | None = None
    """Number of workers; None: as many as there are GPUs, or CPUs for."""
    threads: int | None = None
    """CPU threads of a worker; None: the executor chooses."""
    captions: int | None = None
    """Captions of a shard; None: the executor chooses."""


@dataclass(frozen=True)
class Setup:
    """Everything from which a process builds its `Workbench`."""

    workload: Workload
    """Target, captions, scorers and protocol."""
    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", …"""
    batch_size: int = 32
    """Pictures generated at once."""
    metrics: tuple[str, ...] = ()
    """Names of `METRICS` to measure besides the default ones."""
    keeps_pictures: bool = False
    """Whether outcomes carry every picture, not only the row for the contact sheet."""
    store: Path | str | None = None
    """Folder of finished work, or its fsspec address; None: nothing is kept or reused."""
    candidates: tuple[TargetSpec, ...] = ()
    """Pipelines of other tools that cases put in the target's place, by name."""
    cluster: Cluster = Cluster()
    """How cases are shared out. An executor that runs in one process does not read it."""


class Executor(Protocol):
    """Runs cases of one workload. Built as `Class(setup, progress)`."""

    @property
    def bench(self) -> Workbench:
        """Return this process's workbench. Latency, captions and facts of the workload come from it."""

    def plan(self, cases: Sequence[Case]) -> None:
        """Learn the coming cases, in order. An executor may prepare shared work for all of them at once."""

    def submit(self, case: Case, known: str = "") -> Future[Outcome]:
        """Return the future outcome of a case. If the case cannot run, the future raises a `HarnessError`.

        Args:
            case: The case.
            known: SHA-256 of pruned weights. Where the case's have it, no picture is made: see `Record.spared`. Given
                with `--changed` only.
        """

    def close(self) -> None:
        """Release everything. Futures of submitted cases are not completed afterwards."""


def create(name: str, setup: Setup, progress: Progress) -> Executor:
    """Return a new executor.

    Args:
        name: A name of `EXECUTORS`.
        setup: The workload, and how to run its cases.
        progress: Called with a short line about the current work.

    Raises:
        HarnessError: There is no executor of the name, or the setup cannot work.
    """
    if name not in EXECUTORS:
        raise unknown("--executor", name, EXECUTORS)
    module, _, kind = EXECUTORS[name].partition(":")
    build: Callable[[Setup, Progress], Executor] = getattr(importlib.import_module(module), kind)
    return build(setup, progress)
