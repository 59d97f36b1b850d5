"""What a page shows behind a run: the figures of the baselines, or of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.metrics import METRICS
from harness.verdict.compare import compare

if TYPE_CHECKING:
    from harness.case import Case
    from harness.measurement import Measurement
    from harness.metrics.metric import Metric
    from harness.record import Record
    from harness.results import Results


@dataclass(frozen=True)
class Behind:
    """The figures that a run is compared with."""

    label: str
    """"baseline", or the name of the other run."""
    figures: Mapping[Case, Mapping[str, Measurement]]
    """Case → metric → figure."""
    paired: Mapping[Case, Mapping[str, list[float]]] = field(default_factory=dict)
    """Case → metric → a value per caption, for another run."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Id of a case → the verdict of comparing both runs; empty for baselines."""

    def change(self, metric: Metric, record: Record) -> float | None:
        """Return how far a figure has moved, now minus before; None where one of them is unknown."""
        before = self.figures.get(record.case, {}).get(metric.name)
        now = record.quality.get(metric.name)
        return None if before is None or now is None else now.value - before.value


@dataclass(frozen=True)
class Change:
    """One figure that has moved."""

    case: str
    """The id of the case."""
    metric: Metric
    """The metric."""
    before: Measurement
    """The figure behind."""
    now: Measurement
    """The figure of the run."""
    tolerances: float
    """The change as a multiple of the tolerance."""

    @property
    def worse(self) -> bool:
        """Return whether the figure has moved for the worse."""
        return self.metric.worse_by(self.now.value - self.before.value) > 0

    @property
    def text(self) -> str:
        """Return "before → now", with as many decimals as their standard errors need."""
        digits = self.metric.digits([self.before, self.now])
        return f"{self.before.value:.{digits}f} → {self.now.value:.{digits}f}"


def baselines(results: Results) -> Behind:
    """Return the figures of the baselines that a run was judged with."""
    return Behind("baseline", {r.record.case: r.baseline for r in results.cases if r.baseline})


def run(name: str, before: Results, after: Results) -> Behind:
    """Return the figures of another run.

    Args:
        name: The other run's name.
        before: The results of the other run.
        after: The results of the run that is shown.

    Raises:
        HarnessError: The two cannot be compared: see `compare`.
    """
    records = [*before.dense.values(), *(result.record for result in before.cases)]
    rows = compare(before, after)
    said = {row.case: row.verdict + (f" ({row.decided_by})" if row.decided_by else "") for row in rows}
    return Behind(name, {one.case: one.quality for one in records}, {one.case: one.paired for one in records}, said)


def changes(results: Results, behind: Behind) -> list[Change]:
    """Return the figures of a run that have moved, those that moved by most tolerances first."""
    moved = []
    for record in (result.record for result in results.cases):
        for name, before in behind.figures.get(record.case, {}).items():
            now, metric = record.quality.get(name), METRICS.get(name)
            if metric is not None and now is not None and now.value != before.value:
                part = abs(now.value - before.value) / metric.allowed(before, record.case.moves_weights)
                moved.append(Change(record.case.id, metric, before, now, part))
    return sorted(moved, key=lambda change: -change.tolerances)
