"""How cases are divided among processes that share nothing."""

from __future__ import annotations

from collections.abc import Sequence


def dealt(costs: Sequence[float], shards: int) -> list[int]:
    """Deal units out to shards of about equal cost: the longest first, each to the shard that has the least.

    Args:
        costs: The estimated time of every unit.
        shards: Number of shards.

    Returns:
        The shard of every unit, from 0. It depends on the arguments only.
    """
    sums = [0.0] * shards
    chosen = [0] * len(costs)
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        shard = min(range(shards), key=lambda shard: (sums[shard], shard))
        chosen[place] = shard
        sums[shard] += costs[place]
    return chosen
