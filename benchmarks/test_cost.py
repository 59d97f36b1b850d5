"""What pruning costs and saves in time: masked weights are as slow as dense ones, and here that is measured."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from harness.case import Case
from harness.gate import Gate


def test_latency(cost_case: Case, gate: Gate, benchmark: Any) -> None:
    """Encoding four captions and a sampling step takes as much longer than with the dense model as it did.

    The two are timed in turns.
    """
    from harness.cost.latency import ratio, synchronised
    from harness.pruning import prune
    from harness.quality.generate import sample
    from harness.surgery.masks import masked
    from harness.verdict.tolerances import LATENCY_TOLERANCE

    target = gate.engine.target
    step = synchronised(target.device, partial(sample, target, gate.engine.captions[:4], 1))
    pruning = prune(target, cost_case)
    with masked(target.components, pruning):
        benchmark.pedantic(step, rounds=10, iterations=1, warmup_rounds=2)
    # Of so many standard errors a change as large as the tolerance is told from chance; two runs have an error each.
    found = ratio(step, lambda: masked(target.components, pruning), LATENCY_TOLERANCE / 10)
    benchmark.extra_info.update(case=cost_case.id, ratio_to_dense=asdict(found), conditions=gate.engine.conditions())
    gate.judge_latency(cost_case, found)
