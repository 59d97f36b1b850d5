"""What pruning costs and saves in time: masked weights are as slow as dense ones, and here that is measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.case import Case
from harness.gate import Gate

ROUNDS = 10
# A ratio further from 1 than this, beyond three standard errors, means that something other than zeros has changed.
TOLERANCE = 0.25


def test_latency(cost_case: Case, gate: Gate, benchmark: Any) -> None:
    """A sampling step of the pruned model takes as long as the dense one's: zeros are multiplied like any number."""
    from harness.cost.latency import ratio, synchronised
    from harness.pipeline import sampling_step
    from harness.pruning import prune
    from harness.surgery.masks import masked

    target = gate.engine.target
    step = synchronised(target.device, sampling_step(target, 4))
    pruning = prune(target, cost_case)
    with masked(target.components, pruning):
        benchmark.pedantic(step, rounds=ROUNDS, iterations=1, warmup_rounds=2)
    found = ratio(step, lambda: masked(target.components, pruning), ROUNDS)
    benchmark.extra_info.update(case=cost_case.id, ratio_to_dense=asdict(found), conditions=gate.engine.conditions())
    gate.note(f"{cost_case.id:<46} latency {found.value:.3f} ± {found.se:.3f} of dense, {ROUNDS} rounds")
    assert abs(found.value - 1) <= TOLERANCE + 3 * found.se, (
        f"REGRESSION (latency): pruned / dense is {found.value:.3f} ± {found.se:.3f} over {found.n} rounds, "
        f"wanted 1 ± {TOLERANCE}"
    )
