"""Does quality hold? The answer for a case, and for a curve how far. `harness.verdict.holds` gives the answers."""

from __future__ import annotations

from dataclasses import dataclass

YES, NO, UNDECIDED = "yes", "no", "undecided"


@dataclass(frozen=True)
class Loss:
    """The loss of one metric against the dense model, beside the loss that the budget allows."""

    metric: str
    """A name of `METRICS`."""
    value: float
    """The change against the dense model in the bad direction, in the metric's unit."""
    se: float
    """Its standard error, paired by caption or by resample."""
    budget: float
    """The largest loss at which quality still holds."""
    answer: str
    """`YES`: the loss is inside the budget; `NO`: it is not; `UNDECIDED`: these captions cannot say."""
    captions: int = 0
    """About how many captions would decide; 0 where these do."""


@dataclass(frozen=True)
class Holding:
    """Whether the quality of a case holds against the dense model of its run."""

    answer: str
    """`YES`: every loss is inside the budget; `NO`: one is not; else `UNDECIDED`."""
    losses: tuple[Loss, ...]
    """The losses of all metrics of the budget that were measured; at least one."""

    @property
    def captions(self) -> int:
        """Return about how many captions would decide; 0 where these do."""
        return max((loss.captions for loss in self.losses), default=0) if self.answer == UNDECIDED else 0


@dataclass(frozen=True)
class HeldTo:
    """How far quality holds on one curve: cases that differ in their sparsity only."""

    curve: str
    """What the cases share: see `Case.group`."""
    last: float
    """The highest sparsity at which quality holds, and holds at all lower ones; 0 where there is none."""
    low: float
    """Lower end of the 95 % interval of `last`."""
    high: float
    """Upper end of the 95 % interval of `last`."""
    knee: float
    """The sparsity at which the steep part of the curve begins; see `harness.verdict.dropoff.knee`."""
    levels: int
    """How many sparsities were measured."""
