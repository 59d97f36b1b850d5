"""The executor of the current target, and the records that it has returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from harness import files
from harness.case import Case
from harness.errors import HarnessError
from harness.execution.executor import Executor, Setup, create
from harness.metrics import METRICS
from harness.plugin import changed
from harness.plugin.settings import Settings
from harness.record import Record
from harness.workloads.workload import Workload

if TYPE_CHECKING:
    from harness.execution.bench import Workbench
    from harness.execution.outcome import Outcome
    from harness.verdict.baseline import Baseline


class Running:
    """One target's executor. Keeps the pictures of every outcome where the run wants them."""

    def __init__(self, target: str, executor: Executor, settings: Settings) -> None:
        """Use an executor.

        Args:
            target: The target's name in ids.
            executor: Runs cases of the target.
            settings: The run's settings. They say where pictures go.
        """
        self.target, self._executor, self._settings = target, executor, settings
        self._records: dict[Case, Record] = {}

    @property
    def bench(self) -> Workbench:
        """Return the workbench of this process."""
        return self._executor.bench

    @cached_property
    def dense(self) -> Outcome:
        """The outcome of the dense model, which runs once. It keeps its row of pictures and drops the others."""
        outcome = self._run(Case(self.target))
        return replace(outcome, pictures=None, evidence=replace(outcome.evidence, pictures=None))

    def run(self, case: Case, stored: Baseline | None = None) -> Outcome:
        """Run a case, after the dense model.

        Args:
            case: The case.
            stored: A baseline. Where the case's pruned weights are those of the baseline, no picture is made, and the
                record has the baseline's figures. None: pictures are made.

        Raises:
            HarnessError: The case cannot run.
        """
        if case.target != self.target:
            raise HarnessError(
                f"{case.id} is a case of {case.target}, but this test measures {self.target}; "
                "give the test the case as a parameter"
            )
        dense = self.dense
        return dense if case.is_dense else self._run(case, stored)

    def known(self, case: Case) -> Record | None:
        """Return the record of a case that has run in this process, or None."""
        return self._records.get(case)

    def close(self) -> None:
        """Release the executor."""
        self._executor.close()

    def _run(self, case: Case, stored: Baseline | None = None) -> Outcome:
        # An executor of a user's own need not know the second argument before somebody asks for `--changed`.
        submit = self._executor.submit
        outcome = (submit(case) if stored is None else submit(case, stored.trace.weights)).result()
        if stored is not None and outcome.record.spared:
            outcome = replace(outcome, record=changed.filled(outcome.record, stored))
        self._records[case] = outcome.record
        if outcome.record.spared:
            return outcome
        files.write(self._settings.report / "rows" / f"{case.id}.png", outcome.row)
        if self._settings.images is not None and outcome.pictures is not None:
            from harness.report.pictures import save_all

            save_all(outcome.pictures, self.bench.workload.texts, self._settings.images / case.id)
        return outcome


class Targets:
    """The targets of a run. One at a time is in memory."""

    def __init__(self, settings: Settings, progress: Callable[[str], None], workers: int) -> None:
        """Load nothing yet.

        Args:
            settings: The run's settings.
            progress: Called with a short line about the current work.
            workers: How many processes share this machine's cores.
        """
        self._settings, self._progress, self._workers = settings, progress, workers
        self._workloads: dict[str, Workload] = {}
        self._running: Running | None = None

    def workload(self, target: str) -> Workload:
        """Return a target's workload. Raises HarnessError where its captions cannot be used."""
        if target not in self._workloads:
            self._workloads[target] = self._settings.workload(target)
        return self._workloads[target]

    def get(self, target: str, planned: Sequence[Case]) -> Running:
        """Return the executor of a target. Releases the executor of another target first.

        Args:
            target: The target's name in ids.
            planned: The target's cases in the order of the run; empty where nobody knows them.

        Raises:
            HarnessError: The target, its scorer or its reference cannot be loaded.
        """
        if self._running is None or self._running.target != target:
            self.close()
            self._running = self._start(target, planned)
        return self._running

    def close(self) -> None:
        """Release the target in memory."""
        if self._running is not None:
            self._running.close()
        self._running = None

    def _start(self, target: str, planned: Sequence[Case]) -> Running:
        settings, workload = self._settings, self.workload(target)
        if self._workers > 1:
            import torch

            # If every worker had as many threads as there are cores, workers would mostly wait for each other.
            torch.set_num_threads(max(1, torch.get_num_threads() // self._workers))
            self._workers = 1
        setup = Setup(
            workload,
            settings.device,
            settings.batch_size,
            tuple(name for name in settings.metrics if not settings.lacking(target, METRICS[name].takes)),
            settings.images is not None,
            settings.store,
            settings.candidates,
            settings.cluster,
        )
        executor = create(settings.executor, setup, self._progress)
        try:
            executor.plan(planned)
        except HarnessError:
            executor.close()
            raise
        return Running(target, executor, settings)
