"""The time that pruning costs or saves. Masked weights should be as slow as dense ones; these tests measure it."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.case import Case
from harness.plugin.gate import Gate


def test_latency(cost_case: Case, gate: Gate, benchmark: Any) -> None:
    """The time to encode four captions and take one sampling step, pruned to dense, is that of the baseline.

    Pruned and dense model are timed in turns.
    """
    from harness.cost.latency import ratio, synchronised
    from harness.generation.generate import sample
    from harness.pruning.prune import prune
    from harness.surgery.masks import masked
    from harness.verdict.baseline import LATENCY_TOLERANCE

    target = gate.bench.target
    step = synchronised(target.device, partial(sample, target, gate.bench.texts[:4], 1))
    pruning = prune(target, cost_case)
    with masked(target.components, pruning):
        benchmark.pedantic(step, rounds=10, iterations=1, warmup_rounds=2)
    # Each of two runs has an error. With ten standard errors in a tolerance, a change of that size is not chance.
    measured = ratio(step, lambda: masked(target.components, pruning), LATENCY_TOLERANCE / 10)
    gate.judge_latency(cost_case, measured)
