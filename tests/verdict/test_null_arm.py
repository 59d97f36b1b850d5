"""The dense model on another stack: its null arm shows the rounding of the stack, which is no effect of pruning."""

from __future__ import annotations

from dataclasses import replace

from harness.case import Case
from harness.metrics import METRICS
from harness.record import Record
from harness.verdict.effect import Anchor, effect
from tests.verdict.made_up import CASE, record


def moved(of: Record, name: str, by: float) -> Record:
    """Return a record whose figure and paired values of one metric have moved."""
    figure = replace(of.quality[name], value=of.quality[name].value + by)
    paired = [value + by for value in of.paired[name]]
    return replace(of, quality=of.quality | {name: figure}, paired=of.paired | {name: paired})


def test_the_null_arm_of_another_stack_is_no_effect() -> None:
    """The control: the same change of a pruned case, and of a metric that compares with nothing else."""
    dense, pruned = record(Case("scenes")), record(CASE)
    for name, in_dense, in_pruned in (("drift", 0.0, 2.0), ("clip", 2.0, 2.0)):
        anchor = Anchor(dense, dense, "", "clip", 0.0, 0.0)
        for before, expected in ((dense, in_dense), (pruned, in_pruned)):
            _, change = effect(METRICS[name], before, moved(before, name, 2.0), anchor)
            assert round(change.value, 6) == expected
