"""A cache of calibration statistics: taken once for this case and the planned ones, where memory allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.case import Case
from harness.execution.bench import Workbench
from harness.pruning.calibration import Calibration, calibrate
from harness.pruning.prune import Statistics
from harness.pruning.room import NoRoom
from pruners import METHODS
from pruners.types import LayerStats

BATCH = 16


class Calibrations:
    """A cache. Its content changes speed, never results."""

    def __init__(self, bench: Workbench, planned: Sequence[Case]) -> None:
        """Start empty.

        Args:
            bench: The loaded workload. Its target must be dense whenever statistics are requested.
            planned: The coming cases.
        """
        self._bench, self._planned = bench, planned
        # Whether early denoising steps weigh more → statistics, and the cases that they were taken for.
        self._known: dict[bool, Calibration] = {}
        self._cases: dict[bool, set[Case]] = {}

    def of(self, case: Case, progress: Callable[[str], None]) -> Statistics | None:
        """Return component → layer → statistics; None where no method of the case reads any.

        Calibrates once for this case and the planned ones; if that does not fit into memory, for this case only.
        Statistics that a GPU has collected move to the CPU if the CPU has room.
        """
        if not case.needs:
            return None
        statistics: dict[str, Mapping[str, LayerStats]] = {}
        for by_steps in (False, True):
            wanted = _needs(case, by_steps)
            if wanted:
                known = self._calibration(case, by_steps, progress).components
                statistics |= {component: known[component] for component in wanted}
        return statistics

    def shared(self, by_steps: bool, progress: Callable[[str], None]) -> Calibration:
        """Return the statistics for all planned cases that read such; if they do not fit, for the first of them.

        Args:
            by_steps: Whether early denoising steps weigh more.
            progress: Called with a short line about the current work.
        """
        first = next(case for case in self._planned if _needs(case, by_steps))
        return self._calibration(first, by_steps, progress)

    def keep(self, calibration: Calibration) -> None:
        """Keep statistics that another process has taken from the same model and captions."""
        by_steps = calibration.about.by_steps
        self._known[by_steps] = calibration
        self._cases[by_steps] = {case for case in self._planned if _covers(calibration, case, by_steps)}

    def _calibration(self, case: Case, by_steps: bool, progress: Callable[[str], None]) -> Calibration:
        known = self._known.get(by_steps)
        if known is not None and _covers(known, case, by_steps):
            return known
        cases = {case, *self._cases.get(by_steps, ()), *(c for c in self._planned if _needs(c, by_steps))}
        self._known.pop(by_steps, None)
        try:
            calibration = self._take(cases, by_steps, progress)
        except NoRoom:
            self._known.clear()
            cases = {case}
            calibration = self._take(cases, by_steps, progress)
        on_cpu = self._bench.device.type == "cpu"
        self._known[by_steps], self._cases[by_steps] = calibration if on_cpu else calibration.on_cpu(), cases
        return self._known[by_steps]

    def _take(self, cases: set[Case], by_steps: bool, progress: Callable[[str], None]) -> Calibration:
        bench, layers = self._bench, {case.layers for case in cases}
        wanted = [_needs(case, by_steps) for case in cases]
        return calibrate(
            bench.target,
            [name for name in bench.target.components if any(name in needs for needs in wanted)],
            next(iter(layers)) if len(layers) == 1 else "all",
            bench.calibration(),
            any("gram" in needs for by in wanted for needs in by.values()),
            batch_size=min(BATCH, bench.setup.batch_size),
            progress=progress,
            sums=any("sums" in needs for by in wanted for needs in by.values()),
            by_steps=by_steps,
        )


def _needs(case: Case, by_steps: bool) -> dict[str, frozenset[str]]:
    """Return component → the statistics that its method reads, of the components whose steps are weighted so."""
    all_of_them = {component: METHODS[method].needs for component, method in case.methods.items()}
    return {name: needs for name, needs in all_of_them.items() if needs and ("steps" in needs) == by_steps}


def _covers(calibration: Calibration, case: Case, by_steps: bool) -> bool:
    wanted = _needs(case, by_steps)
    needs = frozenset().union(*wanted.values())
    return (
        wanted.keys() <= calibration.components.keys()
        and calibration.about.layers in ("all", case.layers)
        and (calibration.about.gram or "gram" not in needs)
        and (calibration.about.sums or "sums" not in needs)
    )
