"""Another machine or another stack: which cases are judged by their effect, and what the effect of pruning is.

Pictures move when the stack changes, although nothing is wrong. What pruning does to them moves less. So a case is then
compared by its effect, pruned minus dense: that of now with that of the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import Measured, Record
from harness.verdict.baseline import Baseline
from harness.verdict.statistics import POWER, Difference, difference, standard_error

# How many times its noise within one stack the dense model must move before cases are judged by their effect.
BEYOND = 3.0


@dataclass(frozen=True)
class Rules:
    """How a run wants its cases to be judged."""

    expect_same_stack: bool = False
    """Whether figures must be the baseline's although the stack differs."""
    effect_tolerances: Mapping[str, float] = field(default_factory=dict)
    """Metric → tolerance of effect, in place of `Metric.effect_tolerance`."""


@dataclass(frozen=True)
class Anchor:
    """The dense model on two stacks. Cases are judged by their effect against it."""

    now: Measured
    """The dense model of this run."""
    before: Measured
    """The dense model of the baselines."""
    facts: str
    """The facts that differ, such as "torch 2.13.0 → 2.12.1"."""
    score: str
    """The metric that shows how far the dense model has moved."""
    moved: float
    """Root mean square of the change of the dense model's score, over captions."""
    limit: float
    """The largest `moved` within one stack."""

    @property
    def sentence(self) -> str:
        """Return the reason for judging by effect, for the end of a run."""
        what = "the number of threads" if self.facts.startswith("threads ") else "the stack"
        why = f"judged by the effect of pruning: {what} differs ({self.facts}), and "
        if self.moved <= self.limit:
            return why + "weights that are solved for move with rounding"
        label = METRICS[self.score].label
        return (
            why + f"the dense model's {label} moved by {self.moved:.2g} a picture (one stack: {self.limit:.2g} at most)"
        )


def continuous(first: Measured, second: Measured) -> str | None:
    """Return a metric that shows how far the dense model has moved; None where both have none in common.

    Its values per caption are not 0 or 1, and it does not compare with the dense model itself.
    """
    for name, metric in METRICS.items():
        plain = metric.pairing == "caption" and not metric.steps and not is_effect(metric)
        if plain and name in first.paired and name in second.paired:
            return name
    return None


def is_effect(metric: Metric) -> bool:
    """Return whether a metric compares with the dense model of its own run: such a figure is an effect already."""
    return "dense" in metric.takes


def anchor(
    dense: Record, before: Baseline, rules: Rules, solved: bool = False, threads: int | None = None
) -> Anchor | None:
    """Return the anchor of a target, or None where figures must be those of the baseline.

    They must be where the stack is the baseline's, and where another stack moves the dense model no more than one stack
    does. Methods that move surviving weights do not keep to that: rounding moves their weights before any picture is
    made, so they are judged by their effect on every other stack.

    Args:
        dense: The record of the dense model of this run.
        before: The baseline of the dense model that belongs to the case's baseline.
        rules: How the run wants its cases to be judged.
        solved: Whether the case's methods move surviving weights.
        threads: The number of threads of the case's baseline, if another number counts as another stack; None: threads
            do not count.
    """
    stack, here = dense.conditions.stack, dense.conditions.threads
    differ = [f"{n} {getattr(before.stack, n)} → {getattr(stack, n)}" for n in before.stack.differences(stack)]
    differ += [f"threads {threads} → {here}"] if threads not in (None, here) else []
    if not differ or rules.expect_same_stack:
        return None
    score = continuous(dense, before)
    if score is None or len(dense.paired[score]) != len(before.paired[score]):
        return None
    changes = [b - a for a, b in zip(before.paired[score], dense.paired[score], strict=True)]
    moved = math.sqrt(math.fsum(change**2 for change in changes) / len(changes))
    limit = BEYOND * (before.quality[score].spread or METRICS[score].spread)
    if moved <= limit and not solved:
        return None
    return Anchor(dense, before, ", ".join(differ), score, moved, limit)


def effect(metric: Metric, before: Measured, after: Measured, anchor: Anchor) -> tuple[float, Difference]:
    """Return the effect of the baseline, and by how much the effect of now differs from it.

    Args:
        metric: The metric.
        before: The baseline of the case.
        after: The record of the case.
        anchor: The dense model of both.

    Raises:
        HarnessError: The numbers of pictures or paired values differ.
    """
    name, change = metric.name, difference(metric, before, after)
    if is_effect(metric) and after.case.is_dense:
        # The null arm shows rounding, which belongs to the stack. The dense model has no effect of pruning.
        return 0.0, Difference(0.0, 0.0, change.n)
    if is_effect(metric) and metric.effect_ceiling is not None:
        old, now = ([min(v, metric.effect_ceiling) for v in side.paired[name]] for side in (before, after))
        changes = [b - a for a, b in zip(old, now, strict=True)]
        mean = math.fsum(changes) / len(changes)
        return math.fsum(old) / len(old), Difference(mean, standard_error(metric, changes), change.n)
    if is_effect(metric):
        return before.quality[name].value, change
    then = before.quality[name].value - anchor.before.quality[name].value
    if after.case.is_dense:
        return then, change
    dense = difference(metric, anchor.before, anchor.now)
    sides = (after, anchor.now, before, anchor.before)
    now, now_dense, old, old_dense = (side.paired[name] for side in sides)
    moved = [(a - b) - (c - d) for a, b, c, d in zip(now, now_dense, old, old_dense, strict=True)]
    return then, Difference(change.value - dense.value, standard_error(metric, moved), change.n)


def tolerance(metric: Metric, before: float, rules: Rules) -> float | None:
    """Return how far an effect may move: a fixed part, and a share of the effect. None: the metric has no rule for it.

    Args:
        metric: The metric.
        before: The effect of the baseline.
        rules: How the run wants its cases to be judged.
    """
    fixed = rules.effect_tolerances.get(metric.name, metric.effect_tolerance)
    return None if fixed is None else fixed + metric.effect_share * abs(before)


def enough(change: Difference, noise: float, allowed: float, alpha: float) -> int:
    """Return the number of captions that would decide, by the normal approximation of `decide`.

    Args:
        change: The change of the effect, with the number of captions of this run.
        noise: Standard deviation of the figure when nothing has changed.
        allowed: The tolerance of the effect.
        alpha: The allowed probability of a false alarm of this one comparison.
    """
    normal = NormalDist()
    least = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * math.hypot(change.se, noise)
    return math.ceil(change.n * (least / allowed) ** 2)
