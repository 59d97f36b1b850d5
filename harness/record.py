"""The results of one case: plain values that travel between processes and into JSON as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.case import Case
from harness.facts import Conditions, Stack
from harness.measurement import Measurement

# `Cost.note` of a case whose time and memory an earlier run measured.
REUSED = "not measured: kept from an earlier run"
# `Cost.note` of a case whose pictures nobody made, because its pruned weights are the baseline's.
SPARED = "not measured: the pruned weights are the baseline's"


@dataclass(frozen=True)
class Counts:
    """Counts of one component's weights. They need no picture, and are equal on every machine."""

    parameters: int
    """Number of all parameters of the component."""
    targeted: int
    """Number of weights in the layers that the case's choice of layers covers."""
    zeros: int
    """Number of zeros among the targeted weights."""
    sparsity_targeted: float
    """zeros / targeted."""
    sparsity_component: float
    """Number of zeros among all parameters / parameters."""
    rounding: float = 0.0
    """How far the sparsity may be from the request, because every group prunes a whole number of weights; 0 where
    nothing is pruned."""
    dense_bytes: int = 0
    """Bytes of all parameters as they are in memory."""
    stored_bytes: int = 0
    """Bytes of all parameters if every prunable layer is stored as a bitmap and its surviving weights."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of making one case's pictures. A field is None where it was not measured; `note` says why."""

    seconds: float | None
    """Wall time of the whole case: pruning, generating and scoring."""
    prune_seconds: float | None
    """Wall time of pruning. Levels that are pruned together share the time equally."""
    generate_seconds: float | None
    """Wall time of generating the pictures."""
    tensor_megabytes: float | None
    """Peak of the tensors that generation held on the device, in MB (10⁶ bytes)."""
    note: str = ""
    """Why something was not measured: `REUSED`, `SPARED`, or a batch that did not fit into memory."""


@dataclass(frozen=True)
class Trace:
    """Numbers of every stage of a case, for the first captions. Two runs show at which stage they part."""

    sketch: str = ""
    """The keep bits at sampled places, 1,024 hexadecimal digits per pruned component; "" where nothing is pruned."""
    weights: str = ""
    """SHA-256 of the pruned weights; "" where it is not known."""
    stages: dict[str, list[float]] = field(default_factory=dict)
    """Stage → projections, in the order of the work: see `harness.generation.stages`."""


class PrunedFacts(Protocol):
    """The facts of a pruned model that need no picture. The exact gate uses only this."""

    @property
    def case(self) -> Case:
        """Return the case."""

    @property
    def keep(self) -> str:
        """Return the digest or the sketch of the keep masks."""

    @property
    def components(self) -> Mapping[str, Counts]:
        """Return component → counts."""

    @property
    def stack(self) -> Stack:
        """Return the machine and software."""

    @property
    def trace(self) -> Trace:
        """Return the numbers of every stage."""


class Measured(PrunedFacts, Protocol):
    """What a record and a stored baseline have in common. Comparisons use only this."""

    @property
    def quality(self) -> Mapping[str, Measurement]:
        """Return metric → figure."""

    @property
    def paired(self) -> Mapping[str, list[float]]:
        """Return metric → one value per caption or per resample. Values of two runs over the same captions pair."""

    @property
    def degenerate(self) -> int:
        """Return the number of degenerate pictures."""


@dataclass(frozen=True)
class Record:
    """The results of one run of one case."""

    case: Case
    """The case."""
    workload: str
    """The workload's key: 16 hexadecimal digits, equal for comparable runs."""
    keep: str
    """The keep masks: a SHA-256 (64 digits) for methods without data, else a sketch (1,024 digits per component)."""
    components: dict[str, Counts]
    """Component → counts, for every component of the target, pruned or not."""
    quality: dict[str, Measurement]
    """Metric → figure, in the order of `METRICS`."""
    paired: dict[str, list[float]]
    """Metric → one value per caption or per resample, see `Metric.pairing`; rounded to four decimals."""
    degenerate: int
    """Number of pictures that have values which are not finite, or that show nothing."""
    cost: Cost
    """Time and memory."""
    conditions: Conditions
    """Device, versions, threads, batch size."""
    attributes: dict[str, Measurement] = field(default_factory=dict)
    """Attribute of a scene → share of pictures in which it is right; empty for a user's pipelines."""
    changed: dict[str, int] = field(default_factory=dict)
    """Component → number of prunable layers whose weight is not the target's; for candidates only."""
    trace: Trace = field(default_factory=Trace)
    """Numbers of every stage, for the first captions."""

    @property
    def stack(self) -> Stack:
        """Return the machine and software."""
        return self.conditions.stack

    @property
    def spared(self) -> bool:
        """Return whether no picture was made, because the pruned weights are the baseline's: see `--changed`."""
        return self.cost.note == SPARED


@dataclass(frozen=True)
class LatencyRecord:
    """The measured latency of one case."""

    case: Case
    """The case."""
    ratio: Measurement
    """Latency pruned / dense, its standard error, and the number of rounds."""
    stack: Stack
    """The machine and software."""
