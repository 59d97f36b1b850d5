"""The side of Ray that pytest sees: facts that workers have told, and outcomes that are awaited."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import cached_property

from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Progress, Setup
from harness.execution.outcome import Outcome
from harness.execution.ray_worker import Described
from harness.facts import Stack, WorkloadFacts
from harness.targets.target import Target

# Seconds between two lines of progress.
EVERY = 1.0


class Awaited(Future[Outcome]):
    """A future that says from time to time, in the thread that waits for it, how far the run is."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """Start undone. tell: called again and again while somebody waits."""
        super().__init__()
        self._tell = tell

    def result(self, timeout: float | None = None) -> Outcome:
        """Return the outcome, as `Future.result`."""
        while timeout is None and not wait((self,), EVERY).done:
            self._tell()
        return super().result(timeout)


class RayBench(Workbench):
    """The workbench of the controlling process. Workers have told the facts; latency alone loads a model here."""

    def __init__(self, setup: Setup, progress: Progress, described: Described) -> None:
        """Take the facts of a worker. See `Workbench`."""
        super().__init__(setup, progress)
        self._described = described

    @cached_property
    def target(self) -> Target:
        """The dense pipeline in this process. Raises HarnessError where the workers have another device."""
        here = Workbench(self.setup, self._progress)
        if here.stack.differences(self.stack):
            raise HarnessError(
                f"--executor ray: latency is measured in this process, on {here.stack.device}, and the workers have "
                f"{self.stack.device}; leave these tests out with -k test_quality"
            )
        return here.target

    @cached_property
    def stack(self) -> Stack:
        """Device, versions and numerics of the workers."""
        return self._described.stack

    @cached_property
    def _facts(self) -> WorkloadFacts:
        return self._described.facts
