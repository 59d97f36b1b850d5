"""The order in which workers take units of work: pure code, so that a cluster can be simulated in virtual time."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter

# How often a unit runs again after its worker died.
RETRIES = 3
# A worker chooses among the next so many units per worker. So the user soon has what comes first.
AHEAD = 2


@dataclass(frozen=True)
class Unit:
    """One piece of work for one worker."""

    name: Hashable
    """The work. No two units have one name."""
    cost: float = 1.0
    """Estimated time, in any unit."""
    needs: tuple[Hashable, ...] = ()
    """Names of the units that must be done before."""
    stays: Hashable = None
    """Units of one value run on one worker, which holds what they share; None: on any worker."""
    reads: Hashable = None
    """Shared data that a worker holds after its first unit of the value. Such units prefer that worker."""
    urgent: bool = False
    """Whether the unit is short, and others wait for it: it comes before the long ones."""


class Queue:
    """Hands out units: the longest of the next ones first. A unit whose worker died is handed out again."""

    def __init__(self, workers: int) -> None:
        """Start without units. workers: how many there are."""
        self.workers = workers
        # Every unit by name, with its place in the order; and the units that nothing holds up, by place.
        self._known: dict[Hashable, tuple[int, Unit]] = {}
        self._ready: list[tuple[int, Unit]] = []
        self._blocked: dict[Hashable, set[Hashable]] = {}
        self._waited_for: dict[Hashable, list[Hashable]] = {}
        self._running: dict[Hashable, Hashable] = {}
        self._done: set[Hashable] = set()
        self._places: dict[Hashable, Hashable] = {}
        self._holds: dict[Hashable, set[Hashable]] = {}
        self._deaths: dict[Hashable, int] = {}
        self._first = self._last = 0

    def add(self, unit: Unit, first: bool = False) -> None:
        """Add a unit behind the others. first: in front of them."""
        self._first, self._last = self._first - first, self._last + (not first)
        self._known[unit.name] = self._first if first else self._last, unit
        missing = {name for name in unit.needs if name not in self._done}
        if missing:
            self._blocked[unit.name] = missing
            for name in missing:
                self._waited_for.setdefault(name, []).append(unit.name)
        else:
            insort(self._ready, self._known[unit.name], key=itemgetter(0))

    def take(self, worker: Hashable) -> Unit | None:
        """Return the next unit for a worker without work, or None where the worker has to wait.

        Args:
            worker: The worker's name.
        """
        holds = self._holds.setdefault(worker, set())
        best: tuple[tuple[bool, bool, float], int] | None = None
        seen = 0
        for index, (_, unit) in enumerate(self._ready):
            if unit.stays is not None and self._places.get(unit.stays, worker) != worker:
                continue
            rank = (not unit.urgent, unit.reads is not None and unit.reads not in holds, -unit.cost)
            if best is None or rank < best[0]:
                best = rank, index
            seen += not unit.urgent
            if seen == AHEAD * self.workers:
                break
        if best is None:
            return None
        _, unit = self._ready.pop(best[1])
        self._running[unit.name] = worker
        if unit.stays is not None:
            self._places[unit.stays] = worker
        if unit.reads is not None:
            holds.add(unit.reads)
        return unit

    def done(self, name: Hashable) -> None:
        """Take note that a unit is done."""
        self._running.pop(name, None)
        self._done.add(name)
        for waiting in self._waited_for.pop(name, ()):
            missing = self._blocked.get(waiting)
            if missing is None:
                continue
            missing.discard(name)
            if not missing:
                del self._blocked[waiting]
                insort(self._ready, self._known[waiting], key=itemgetter(0))

    def lost(self, worker: Hashable) -> list[Unit]:
        """Take note that a worker died: its unit waits again, in front of the others.

        Args:
            worker: The worker's name.

        Returns:
            The units that are given up, because their workers died more than `RETRIES` times.
        """
        self._places = {value: place for value, place in self._places.items() if place != worker}
        self._holds.pop(worker, None)
        given_up = []
        for name in [name for name, on in self._running.items() if on == worker]:
            del self._running[name]
            self._deaths[name] = self._deaths.get(name, 0) + 1
            if self._deaths[name] > RETRIES:
                given_up.append(self._known.pop(name)[1])
            else:
                self.add(self._known[name][1], first=True)
        return given_up

    def again(self, name: Hashable) -> None:
        """Take note that the result of a finished unit is gone: it waits again, and so does all that needs it."""
        if name not in self._done:
            return
        self._done.discard(name)
        held_up = [unit for _, unit in self._ready if name in unit.needs]
        self._ready = [(place, unit) for place, unit in self._ready if name not in unit.needs]
        for unit in [*reversed(held_up), self._known[name][1]]:
            self.add(unit, first=True)

    def drop(self, name: Hashable) -> None:
        """Hand a unit to nobody from now on, also where its worker dies."""
        self._ready = [(place, unit) for place, unit in self._ready if unit.name != name]
        self._blocked.pop(name, None)
        self._running.pop(name, None)

    @property
    def waiting(self) -> int:
        """Return how many units nobody has taken yet."""
        return len(self._ready) + len(self._blocked)


def simulate(units: Sequence[Unit], workers: int) -> float:
    """Return how long workers take for units in virtual time, handed out by a `Queue`.

    Args:
        units: The units, in the order of the run. Their costs are exact.
        workers: How many workers there are.

    Returns:
        The time at which the last unit ends.
    """
    queue = Queue(workers)
    for unit in units:
        queue.add(unit)
    now, idle = 0.0, list(range(workers))
    running: list[tuple[float, int, Hashable]] = []
    while True:
        for worker in list(idle):
            taken = queue.take(worker)
            if taken is not None:
                idle.remove(worker)
                heapq.heappush(running, (now + taken.cost, worker, taken.name))
        if not running:
            return now
        now, worker, name = heapq.heappop(running)
        queue.done(name)
        idle.append(worker)
