"""The executor that runs cases in this process, one after the other."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import torch

from harness.case import Case
from harness.execution.bench import Workbench
from harness.execution.executor import Progress, Setup
from harness.execution.outcome import Outcome
from harness.execution.run import Caches, run
from harness.metrics.evidence import Evidence

# Dense pictures of more bytes are kept on disk: 10,000 pictures of 512 × 512 take 7.9 GB.
LARGE = 10**9


class LocalExecutor:
    """Runs every case when it is submitted. The dense case runs first, once."""

    def __init__(self, setup: Setup, progress: Progress) -> None:
        """Load nothing yet. See `harness.execution.executor.create`."""
        self._bench, self._progress = Workbench(setup, progress), progress
        self._caches = Caches.of(self._bench)
        self._dense: Outcome | None = None

    @property
    def bench(self) -> Workbench:
        """As in `Executor`."""
        return self._bench

    def plan(self, cases: Sequence[Case]) -> None:
        """As in `Executor`. Loads everything that the cases need, so that mistakes show before the first case runs."""
        self._bench.warm_up(cases)
        self._caches = Caches.of(self._bench, cases)

    def submit(self, case: Case, known: str = "") -> Future[Outcome]:
        """As in `Executor`. The future is done when this returns."""
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._run(case, known))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """As in `Executor`."""
        self._caches, self._dense = Caches.of(self._bench), None

    def _run(self, case: Case, known: str = "") -> Outcome:
        def progress(text: str) -> None:
            self._progress(f"{case.id}: {text}")

        if case.is_dense:
            return self._dense or self._remembered(run(case, self._bench, None, self._caches, progress))
        if self._dense is None:
            self._run(Case(case.target))
        return run(case, self._bench, self._dense, self._caches, progress, known)

    def _remembered(self, outcome: Outcome) -> Outcome:
        """Return the dense outcome as it is. Keep its evidence for later cases; large pictures go to disk."""
        self._dense = replace(outcome, evidence=_on_disk(outcome.evidence), pictures=None)
        return outcome


def _on_disk(evidence: Evidence) -> Evidence:
    """Return evidence with its pictures in a temporary file, which disappears when it is no longer used."""
    pictures = evidence.pictures
    if pictures is None or pictures.nbytes <= LARGE:
        return evidence
    with tempfile.TemporaryDirectory(prefix="prunegate-dense-") as folder:
        place = str(Path(folder) / "pictures")
        mapped = torch.from_file(place, shared=True, size=math.prod(pictures.shape), dtype=torch.uint8)
    mapped = mapped.view(pictures.shape)
    mapped.copy_(pictures)
    return replace(evidence, pictures=mapped)
