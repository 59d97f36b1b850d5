"""The executor that runs cases on Ray: on this machine, or on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Progress, Setup
from harness.execution.jobs import CALIBRATE, OUTCOME, PART, PRUNE, Costs, Job, calibrations, of_case, shard_of, units
from harness.execution.outcome import Outcome
from harness.execution.parts import Part
from harness.execution.queue import RETRIES, Queue, Unit
from harness.execution.ray_bench import Awaited, RayBench
from harness.execution.ray_pool import Hired, Pool, said
from harness.execution.ray_worker import Described, Software

# Seconds between two looks at what has ended, and that `close` waits for the thread.
LOOK, PATIENCE = 0.2, 10.0


class RayExecutor:
    """Runs cases on the workers of Ray. pytest waits for one case after the other; workers are ahead of it.

    One thread owns the queue and all references. The other threads reach it through `_inbox` and the futures only.
    """

    def __init__(self, setup: Setup, progress: Progress) -> None:
        """Start or join Ray. See `harness.execution.executor.create`.

        Raises:
            HarnessError: Ray is not installed, cannot be reached, or has too little for the workers.
        """
        self._setup, self._progress = setup, progress
        self._pool = Pool(setup)
        self._queue = Queue(self._pool.count)
        self._planned: tuple[Case, ...] = ()
        self._shard = len(setup.workload.captions)
        self._futures: dict[Case, Future[Outcome]] = {}
        self._inbox: SimpleQueue[Case] = SimpleQueue()
        self._idle: list[Hired] = []
        # Reference → the worker, and its unit; None where the worker has just started.
        self._flying: dict[Any, tuple[Hired, Unit | None]] = {}
        self._shared: dict[Job, Any] = {}
        self._parts: dict[Case, dict[int, Part]] = {}
        self._dense: Any = None
        self._stillborn = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @cached_property
    def bench(self) -> Workbench:
        """As in `Executor`. Latency is measured in this process."""
        if self._pool.described is None:
            self.plan(())
        assert self._pool.described is not None
        return RayBench(self._setup, self._progress, self._pool.described)

    def plan(self, cases: Sequence[Case]) -> None:
        """As in `Executor`. Starts the workers, and waits until each has loaded the workload."""
        pool, captions = self._pool, len(self._setup.workload.captions)
        self._progress(f"starting {pool.count} workers")
        self._planned = tuple(cases)
        self._idle = pool.start_all(self._planned)
        asked = self._setup.cluster.captions
        chosen = asked or shard_of(max(1, len(cases)), captions, pool.count, self._setup.batch_size)
        self._shard = min(chosen, captions)
        self._futures = {case: Awaited(self._tell) for case in (Case(self._setup.workload.name), *cases)}
        for unit in units([*self._futures], captions, self._shard):
            self._queue.add(unit)

    def submit(self, case: Case, known: str = "") -> Future[Outcome]:
        """As in `Executor`. The workers begin when the first case is submitted, and go on with the planned cases.

        Raises:
            HarnessError: `known` is given. Workers are ahead of pytest, and would have made the pictures by then.
        """
        if known:
            raise HarnessError("--changed makes few pictures, so one process is enough. Leave --executor ray out.")
        if self._pool.described is None:
            self.plan((case,))
        if case not in self._futures:
            self._futures[case] = Awaited(self._tell)
            self._inbox.put(case)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="prunegate-ray", daemon=True)
            self._thread.start()
        return self._futures[case]

    def close(self) -> None:
        """As in `Executor`. Ends the workers, and Ray where this process started it."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._pool.close([*self._idle, *(hired for hired, _ in self._flying.values())])
        self._idle, self._flying = [], {}

    def _tell(self) -> None:
        futures = list(self._futures.values())
        busy = sum(unit is not None for _, unit in list(self._flying.values()))
        ended = sum(future.done() for future in futures)
        self._progress(f"{ended}/{len(futures)} cases done, {busy} of {self._pool.count} workers busy")

    def _serve(self) -> None:
        """Hand out units and take results, until `close`."""
        try:
            while not self._ended.is_set():
                self._turn()
        except Exception as error:
            # Whoever waits for an outcome would wait for ever.
            self._fail([*self._futures], error)

    def _turn(self) -> None:
        while True:
            try:
                self._enqueue(self._inbox.get_nowait())
            except Empty:
                break
        for hired in list(self._idle):
            unit = self._queue.take(hired.name)
            if unit is not None:
                self._idle.remove(hired)
                self._flying[self._sent(hired, unit)] = hired, unit
        if not self._flying:
            self._ended.wait(LOOK)
            return
        self._pool.ray.wait([*self._flying], timeout=LOOK)
        ended, _ = self._pool.ray.wait([*self._flying], num_returns=len(self._flying), timeout=0)
        for ref in ended:
            self._take(ref)

    def _enqueue(self, case: Case) -> None:
        """Add a case that nobody planned. Workers calibrate for it themselves where they have to."""
        for unit in of_case(case, len(self._setup.workload.captions), self._shard, Costs()):
            known = tuple(job for job in unit.needs if not isinstance(job, Job) or job.kind != CALIBRATE)
            self._queue.add(replace(unit, needs=known, reads=None))

    def _sent(self, hired: Hired, unit: Unit) -> Any:
        """Give a worker a unit. Return the reference of a small object that says how it ended."""
        job, actor = unit.name, hired.actor
        assert isinstance(job, Job)
        read = [self._shared[one] for one in calibrations(job.case) if one in self._shared and one in unit.needs]
        if job.kind == OUTCOME:
            parts = self._parts.get(job.case, {})
            return actor.outcome.remote(list(parts.values()), None if job.case.is_dense else self._dense)
        if job.kind == PART:
            solved = self._shared.get(Job(PRUNE, job.case))
            return actor.part.remote(job.case, (job.first, job.last), solved, *read)
        both = (actor.calibrate, (job.by_steps,)) if job.kind == CALIBRATE else (actor.prune, (job.case, *read))
        self._shared[job], ended = both[0].options(num_returns=2).remote(*both[1])
        return ended

    def _take(self, ref: Any) -> None:
        """Take the result of a unit, or of a worker that has just started."""
        hired, unit = self._flying.pop(ref)
        errors = self._pool.ray.exceptions
        try:
            value = self._pool.ray.get(ref)
        except errors.RayError as error:
            cause = error.cause if isinstance(error, errors.RayTaskError) else error
            if isinstance(cause, errors.ObjectLostError):
                self._again(hired, unit)
            elif isinstance(error, errors.RayTaskError):
                self._idle.append(hired)
                cases = [*self._futures] if unit is None else self._reading(unit.name)
                self._fail(cases, cause if isinstance(cause, HarnessError) else error)
            else:
                self._lost(hired, said(error))
        else:
            if unit is not None:
                self._idle.append(hired)
                self._finish(unit.name, value)
            else:
                self._welcome(hired, value)

    def _welcome(self, hired: Hired, value: Software | Described) -> None:
        """Have a worker that replaces another load the workload, or give it work."""
        try:
            if isinstance(value, Software):
                self._flying[self._pool.load(hired, value, self._planned)] = hired, None
                return
            self._pool.check(value)
        except HarnessError as error:
            self._pool.ray.kill(hired.actor)
            self._fail([*self._futures], error)
            return
        self._stillborn = 0
        self._idle.append(hired)

    def _finish(self, job: Any, value: Any) -> None:
        if isinstance(value, Part) and not self._futures[job.case].done():
            self._parts.setdefault(job.case, {})[job.first] = value
        self._queue.done(job)
        if isinstance(value, Outcome) and not self._futures[job.case].done():
            # A part returns the whole outcome where the store has it.
            self._drop(job.case)
            if job.case.is_dense:
                self._dense = self._pool.ray.put(replace(value, pictures=None))
            self._queue.done(Job(OUTCOME, job.case))
            self._futures[job.case].set_result(value)

    def _drop(self, case: Case) -> None:
        """Forget the work of a case."""
        captions = len(self._setup.workload.captions)
        for unit in of_case(case, captions, self._shard, Costs()):
            self._queue.drop(unit.name)
        self._parts.pop(case, None)
        self._shared.pop(Job(PRUNE, case), None)

    def _lost(self, hired: Hired, why: str) -> None:
        """Replace a worker that died, and have its unit run again."""
        for unit in self._queue.lost(hired.name):
            self._fail(self._reading(unit.name), None, why)
        self._stillborn += 1
        if self._stillborn > self._pool.count + RETRIES:
            self._fail([*self._futures], HarnessError(
                f"--executor ray: one worker after the other ends ({why}); give fewer --workers, or see `ray logs`"
            ))  # fmt: skip
            return
        replaced, ref = self._pool.hire()
        self._flying[ref] = replaced, None

    def _again(self, hired: Hired, unit: Unit | None) -> None:
        """Make shared results again: the machine that held them is gone."""
        self._idle.append(hired)
        for name in unit.needs if unit is not None else ():
            if isinstance(name, Job) and self._shared.pop(name, None) is not None:
                self._queue.again(name)
        for given_up in self._queue.lost(hired.name):
            self._fail(self._reading(given_up.name), None, "data was lost")

    def _reading(self, job: Any) -> list[Case]:
        """Return the cases that cannot run without a job."""
        if job.kind == CALIBRATE:
            return [case for case in self._futures if job in calibrations(case)]
        return [*self._futures] if job.case.is_dense else [job.case]

    def _fail(self, cases: Sequence[Case], error: Exception | None, why: str = "") -> None:
        """Let cases fail. why: why their workers died, where `error` is None."""
        for case in cases:
            if not self._futures[case].done():
                self._drop(case)
                self._futures[case].set_exception(error or HarnessError(
                    f"{case.id}: its worker ended {RETRIES + 1} times ({why}); give workers more memory, with fewer "
                    "--workers or a smaller --batch-size"
                ))  # fmt: skip
