"""Counts on another stack: equal, but where calibration data divides the sparsity among layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.case import Case
from harness.record import Record
from harness.verdict.exact import exact
from harness.verdict.stages import COUNT_TOLERANCE
from tests.verdict.made_up import GPU, record

OWL = Case("scenes", "unet", "owl_wanda", "all", (0.5,))
WANDA = Case("scenes", "unet", "wanda", "all", (0.5,))


def with_zeros(case: Case, change: float, elsewhere: bool) -> tuple[Record, Record]:
    """Return a record, and another whose zeros differ by a share of `COUNT_TOLERANCE`, perhaps on another stack."""
    before = record(case)
    counts = {
        name: replace(c, targeted=10**6, zeros=500_000, sparsity_targeted=0.5) for name, c in before.components.items()
    }
    before = replace(before, components=counts)
    by = round(change * COUNT_TOLERANCE * 10**6)
    after = replace(before, components={name: replace(c, zeros=c.zeros + by) for name, c in counts.items()})
    stack = GPU if elsewhere else before.stack
    return before, replace(after, conditions=replace(after.conditions, stack=stack))


@pytest.mark.parametrize(
    ("case", "change", "elsewhere", "green"),
    [
        (OWL, 0.5, True, True),
        (OWL, -0.5, True, True),
        (OWL, 1.5, True, False),
        (OWL, 0.5, False, False),
        (WANDA, 0.5, True, False),
        (WANDA, 0.0, True, True),
    ],
)
def test_only_sparsity_that_data_divides_may_move_zeros_and_only_elsewhere(
    case: Case, change: float, elsewhere: bool, green: bool
) -> None:
    before, after = with_zeros(case, change, elsewhere)
    verdict = exact(after, before)
    assert (verdict is None) == green
    assert green or "has zeros" in verdict.reason
