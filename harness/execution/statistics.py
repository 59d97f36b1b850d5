"""A cache of calibration statistics: taken once for this case and the planned ones, where memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.case import Case
from harness.execution.bench import Workbench
from harness.pruning.calibration import Calibration, NoRoom, calibrate
from harness.pruning.prune import Statistics

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
        self._known: Calibration | None = None
        self._cases: set[Case] = set()

    def of(self, case: Case, progress: Callable[[str], None]) -> Statistics | None:
        """Return component → layer → statistics; None where no method of the case reads any.

        Calibrates once for this case and the planned ones; if that does not fit into memory, for this case only.
        Statistics that a GPU has collected move to the CPU if the CPU has room.
        """
        if not case.needs:
            return None
        if self._known is None or not _covers(self._known, case):
            cases = {case, *self._cases, *(other for other in self._planned if other.needs)}
            self._known, self._cases = None, set()
            try:
                calibration = self._take(cases, progress)
            except NoRoom:
                cases = {case}
                calibration = self._take(cases, progress)
            on_cpu = self._bench.device.type == "cpu"
            self._known, self._cases = calibration if on_cpu else calibration.on_cpu(), cases
        return self._known.components

    def _take(self, cases: set[Case], progress: Callable[[str], None]) -> Calibration:
        bench = self._bench
        return calibrate(
            bench.target,
            [name for name in bench.target.components if any(name in case.calibrated for case in cases)],
            "all" if any(case.layers == "all" for case in cases) else "linear",
            bench.calibration(),
            any("gram" in case.needs for case in cases),
            batch_size=min(BATCH, bench.setup.batch_size),
            progress=progress,
        )


def _covers(calibration: Calibration, case: Case) -> bool:
    return (
        set(case.calibrated) <= calibration.components.keys()
        and calibration.about.layers in ("all", case.layers)
        and (calibration.about.gram or "gram" not in case.needs)
    )
