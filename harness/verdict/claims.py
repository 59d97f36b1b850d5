"""Claims: sentences about a model's figures that a run can refute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.case import Case
from harness.record import Measured

Records = Mapping[Case, Measured]


@dataclass(frozen=True)
class Claim:
    """One sentence that measurements can contradict."""

    name: str
    """The name in test ids and behind `-k`."""
    source: str
    """The paper or page that makes the claim."""
    cases: tuple[Case, ...]
    """The cases that the claim is about, the dense case included."""
    holds: Callable[[Records], str]
    """Takes the records of all cases, and returns one line that contradicts the claim, or "" where the claim holds."""
    metrics: tuple[str, ...] = ()
    """The metrics that the records must have."""

    @property
    def target(self) -> str:
        """Return the target that the claim is about."""
        return self.cases[0].target

    def judged(self, now: Records, before: Records | None) -> tuple[str, bool]:
        """Return a line that says whether the claim holds, and whether the test fails.

        The test fails where the claim held before and does not hold now.

        Args:
            now: The records of this run.
            before: The baselines of the same cases, None where one is missing.
        """
        against = self.holds(now)
        if not against:
            return f"{self.name:<46} holds ({self.source})", False
        held = before is not None and not self.holds(before)
        stored = "no baselines of all its cases" if before is None else "held before" if held else "as before"
        return f"{self.name:<46} REFUTED, {stored}: {against} ({self.source})", held


def threshold(name: str, source: str, cases: tuple[Case, ...], last: float) -> Claim:
    """Claim that quality holds up to a level, see `dropoff`. An interval that excludes the level refutes the claim.

    Args:
        name: The claim's name.
        source: The paper or page that makes the claim.
        cases: The dense case first, then one method on one component at three levels or more.
        last: The last level at which quality holds; 0 where there is none.
    """

    def holds(records: Records) -> str:
        from harness.verdict.dropoff import curve, dropoff

        dense, *pruned = (records[case] for case in cases)
        drop = dropoff(curve(dense, pruned))
        if drop.low <= last <= drop.high:
            return ""
        return f"quality holds up to {drop.last:g} (95 % interval {drop.low:g} to {drop.high:g}), claimed {last:g}"

    return Claim(name, source, cases, holds)


def better(name: str, source: str, winner: Case, loser: Case, metric: str = "clip", alpha: float = 0.01) -> Claim:
    """Claim that one case measures better than another, paired by caption, beyond chance.

    Args:
        name: The claim's name.
        source: The paper or page that makes the claim.
        winner: The case that should be better.
        loser: The other one.
        metric: A name of `METRICS`.
        alpha: The largest p value at which the difference counts as more than chance: one-sided t.
    """

    def holds(records: Records) -> str:
        from harness.metrics import METRICS
        from harness.verdict.statistics import difference, p_value

        change = difference(METRICS[metric], records[loser], records[winner])
        gain = -METRICS[metric].worse_by(change.value)
        if gain > 0 and p_value(gain, change.se, 0.0, change.n) < alpha:
            return ""
        return f"{metric} of {winner.id} is better by {gain:.3g} ± {change.se:.2g} than {loser.id}, not beyond chance"

    return Claim(name, source, (winner, loser), holds)
