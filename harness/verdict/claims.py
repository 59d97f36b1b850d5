"""What is claimed of a set of cases, as something that can fail: it is about the model, not about one run's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.case import Case
from harness.record import Record

Records = Mapping[Case, Record]


@dataclass(frozen=True)
class Claim:
    """One sentence that measurements can contradict.

    name: as a person types it behind `-k`. source: who says so, and where. cases: what it rests on, the dense case
    included. holds: given the records of all cases, returns what contradicts it in one line, or "" where it holds.
    metrics: that the records must have.
    """

    name: str
    source: str
    cases: tuple[Case, ...]
    holds: Callable[[Records], str]
    metrics: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What it is about."""
        return self.cases[0].target

    def judged(self, now: Records, before: Records | None) -> tuple[str, bool]:
        """Return a line that says whether it holds, and whether that is red: it held before, and does not now.

        before: the same cases as stored, None where a baseline is missing.
        """
        against = self.holds(now)
        if not against:
            return f"{self.name:<46} holds ({self.source})", False
        held = before is not None and not self.holds(before)
        stored = "no baselines of all its cases" if before is None else "held before" if held else "as before"
        return f"{self.name:<46} REFUTED, {stored}: {against} ({self.source})", held


def threshold(name: str, source: str, cases: tuple[Case, ...], last: float) -> Claim:
    """Claim that quality holds up to the level `last` of the given ones, 0 for none; see `dropoff`.

    cases: the dense one first, then one method on one component at three levels or more.
    """

    def holds(records: Records) -> str:
        from harness.verdict.dropoff import curve, dropoff

        dense, *pruned = (records[case] for case in cases)
        found = dropoff(curve(dense, pruned))
        if found.last == last:
            return ""
        return f"quality holds up to {found.last:g} (95 % interval {found.low:g} to {found.high:g}), claimed {last:g}"

    return Claim(name, source, cases, holds)


def better(name: str, source: str, winner: Case, loser: Case, metric: str = "clip", alpha: float = 0.01) -> Claim:
    """Claim that one case measures better than another, paired by caption, beyond chance (one-sided t, `alpha`)."""

    def holds(records: Records) -> str:
        from harness.verdict.statistics import difference, tail
        from harness.verdict.tolerances import LOWER_IS_BETTER

        change = difference(metric, records[loser], records[winner])
        gain = -change.value if metric in LOWER_IS_BETTER else change.value
        if gain > 0 and (change.se == 0 or tail(gain / change.se, change.n - 1) < alpha):
            return ""
        return f"{metric} of {winner.id} is better by {gain:.3g} ± {change.se:.2g} than {loser.id}, not beyond chance"

    return Claim(name, source, (winner, loser), holds)
