"""The stored values of a case, as plain types. `repository.py` reads and writes the files."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.case import Case
from harness.facts import Stack, WorkloadFacts
from harness.measurement import Measurement
from harness.record import Counts, Trace

# The tolerance of memory, as a share of the value. Every run on one stack measures the same value.
MEMORY_TOLERANCE = 0.02
# The tolerance of a ratio of latencies, and its standard deviation between runs of the same code.
LATENCY_TOLERANCE = 0.25
LATENCY_NOISE = 0.02


@dataclass(frozen=True)
class Figure(Measurement):
    """One stored figure of one case.

    Raises:
        ValueError: A part is outside its range, or the tolerance is under three times the noise.
    """

    tolerance: float
    """How far the figure may move in either direction, in the metric's unit."""
    noise: float
    """Standard deviation of the figure when nothing has changed."""
    spread: float = 0.0
    """Standard deviation of one picture's value when nothing has changed, where `--calibrate-noise` measured it;
    0: nobody measured it for this case, and the metric's own `spread` counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ValueError(f"n is {self.n}; a figure rests on 1 picture or more")
        if self.se < 0 or self.noise < 0 or not 0 <= self.spread < math.inf:
            raise ValueError(f"se {self.se!r}, noise {self.noise!r} and spread {self.spread!r} must be 0 or more")
        _check_tolerance(self.tolerance)
        if not 3 * self.noise <= self.tolerance:
            raise ValueError(f"tolerance {self.tolerance!r} is under three times the noise {self.noise!r}")


@dataclass(frozen=True)
class Noise:
    """How far one figure moves when nothing has changed, as `--calibrate-noise` measures it."""

    sigma: float
    """Standard deviation of the figure between runs, in the metric's unit."""
    spread: float = 0.0
    """Standard deviation of one picture's value between runs: the root mean square over captions. 0 for metrics that
    pair by resample."""


@dataclass(frozen=True)
class MemoryFigure:
    """The stored peak of tensors while generating. Only runs on one stack and with one batch size compare.

    Raises:
        ValueError: A part is outside its range.
    """

    value: float
    """The peak in MB (10⁶ bytes)."""
    tolerance: float
    """How far it may move in either direction, in MB."""
    batch_size: int
    """Pictures generated at once."""

    def __post_init__(self) -> None:
        _check_tolerance(self.tolerance)
        if self.batch_size < 1 or not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"value {self.value!r} MB and batch_size {self.batch_size} cannot have been measured")


def _check_tolerance(tolerance: float) -> None:
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance {tolerance!r} is not a positive number")


@dataclass(frozen=True)
class Provenance:
    """The origin of a stored figure.

    Raises:
        ValueError: The date is no ISO date, or a number is negative.
    """

    commit: str
    """The commit of the code, with "-dirty" where a file had changed since."""
    date: str
    """The day of storing: ISO date, UTC."""
    reason: str
    """The text of `--baseline-reason`."""
    threads: int = 0
    """CPU threads of the run."""
    noise_runs: int = 0
    """Number of `--calibrate-noise` runs that measured the noise; 0: the noise follows the rule of `METRICS`."""
    noise_from: str = ""
    """Commit, date and reason of `--calibrate-noise`, and the threads and batches that it covered, as one text; ""
    where the noise follows the rule."""

    def __post_init__(self) -> None:
        datetime.datetime.fromisoformat(self.date)
        if self.threads < 0 or self.noise_runs < 0:
            raise ValueError(f"threads {self.threads} and noise_runs {self.noise_runs} cannot be negative")


@dataclass(frozen=True)
class Entry:
    """One block of the baselines file: the values of one case in one workload on one stack that a person reviews."""

    workload: str
    """The key of the workload."""
    stack: str
    """The key of the stack, see `Baselines.stacks`."""
    quality: dict[str, Figure]
    """Metric → figure."""
    components: dict[str, Counts]
    """Component → counts."""
    degenerate: int
    """Number of degenerate pictures."""
    memory: MemoryFigure | None
    """Peak of tensors while generating, None where it was not measured."""
    provenance: Provenance
    """The origin of the values."""
    sidecar: str
    """SHA-256 of the file with the keep masks and the paired values."""

    @property
    def key(self) -> str:
        """Return the entry's name among the entries of its case."""
        return f"{self.workload}@{self.stack}"


@dataclass(frozen=True)
class Baseline:
    """All stored values of one case in one workload on one stack. It compares with a `Record`: see `Measured`."""

    case: Case
    """The case."""
    entry: Entry
    """The values in the baselines file."""
    stack: Stack
    """The machine and software that the values were measured on."""
    keep: str
    """The digest or the sketch of the keep masks."""
    paired: dict[str, list[float]]
    """Metric → one value per caption or per resample."""
    trace: Trace
    """Numbers of every stage, for the first captions."""

    @property
    def quality(self) -> Mapping[str, Figure]:
        """Return metric → figure."""
        return self.entry.quality

    @property
    def components(self) -> Mapping[str, Counts]:
        """Return component → counts."""
        return self.entry.components

    @property
    def degenerate(self) -> int:
        """Return the number of degenerate pictures."""
        return self.entry.degenerate


@dataclass(frozen=True)
class LatencyFigure:
    """The stored ratio of latencies, pruned / dense."""

    figure: Figure
    """Ratio, its standard error, number of rounds, tolerance and noise."""
    provenance: Provenance
    """The origin of the ratio."""


@dataclass(frozen=True)
class Baselines:
    """The content of one baselines file."""

    cases: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Id of a case → one entry per workload and stack, in the order of their keys."""
    workloads: Mapping[str, WorkloadFacts] = field(default_factory=dict)
    """Key → facts."""
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    """Key → facts."""
    latency: Mapping[str, Mapping[str, LatencyFigure]] = field(default_factory=dict)
    """Id of a case → key of the stack → ratio."""
