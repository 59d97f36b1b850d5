"""Shards are disjoint and balanced, by properties."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.execution.schedule import dealt

COSTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=40)


@given(COSTS, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_shards_are_disjoint_and_balanced(costs: list[float], shards: int) -> None:
    chosen = dealt(costs, shards)
    sums = [sum(cost for cost, own in zip(costs, chosen, strict=True) if own == shard) for shard in range(shards)]
    assert len(chosen) == len(costs) and set(chosen) <= set(range(shards))
    assert max(sums) - min(sums) <= max(costs) + 1e-9
    assert dealt(costs, shards) == chosen
