"""From the parts of a case to its outcome. Figures are computed once, from the evidence of all parts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.outcome import Outcome
from harness.execution.store import Store
from harness.generation.stages import WATCHED, project
from harness.metrics.composition import by_attribute
from harness.metrics.evidence import Evidence, merged
from harness.metrics.metric import Sample
from harness.png import row_of
from harness.record import Cost, Record

# Stands for a number of a trace that is not finite: JSON has no such numbers.
NOT_FINITE = 9e99


@dataclass(frozen=True)
class Part:
    """What one process saw of a case: of all its captions, or of a shard of them."""

    record: Record
    """The case's record without figures. Its cost is the part's."""
    first: int
    """The number of the part's first caption."""
    evidence: Evidence
    """The evidence on the pictures."""
    shown: Tensor
    """The pictures that belong into the case's row, uint8 `[n, 3, h, w]`; empty where an earlier run made them."""
    pictures: Tensor | None = None
    """Every picture, where the setup keeps pictures; else None."""
    null: Evidence | None = None
    """Of the dense case: the evidence on its pictures in smaller batches."""
    row: bytes = b""
    """The case's row, where an earlier run made the pictures."""


def outcome(parts: Sequence[Part], bench: Workbench, dense: Outcome | None, store: Store | None = None) -> Outcome:
    """Return the outcome of a case, and keep it in the store.

    Args:
        parts: All its parts, in any order, or one part that has all captions.
        bench: The loaded workload.
        dense: The outcome of the dense case. None for the dense case itself, which is compared with its own pictures in
            smaller batches (the null arm).
        store: Finished work; None: the outcome is not kept.

    Raises:
        HarnessError: The parts had other pruned weights, a figure cannot be computed, or the store cannot be written.
    """
    start = time.perf_counter()
    whole = [part for part in parts if len(part.evidence) == len(bench.texts)]
    used = whole[:1] or sorted(parts, key=lambda part: part.first)
    record = used[0].record
    if any(part.record.trace.weights != record.trace.weights for part in used):
        raise HarnessError(
            f"{record.case.id}: its shards were made with different pruned weights; run it on machines of one kind"
        )
    evidence = merged([part.evidence for part in used])
    null = [part.null for part in used if part.null is not None]
    compared = merged(null) if dense is None else dense.evidence
    sample = Sample(evidence, compared, bench.reference, bench.texts, bench.workload.groups, str(bench.device))
    values = {metric.name: metric.compute(sample) for metric in bench.metrics}
    cost = _cost([part.record.cost for part in used])
    if cost.seconds is not None:
        cost = replace(cost, seconds=cost.seconds + time.perf_counter() - start)
    record = replace(
        record,
        quality={name: value.figure for name, value in values.items()},
        paired={name: [round(v, 4) for v in value.paired.tolist()] for name, value in values.items()},
        degenerate=int(evidence.degenerate.sum()),
        attributes=by_attribute(evidence.composition) if evidence.composition is not None else {},
        trace=replace(record.trace, stages={**record.trace.stages, **shortened(_seen(evidence))}),
        cost=cost,
    )
    pictures = [part.pictures for part in used if part.pictures is not None]
    row = used[0].row or row_of(torch.cat([part.shown for part in used]))
    made = Outcome(record, evidence, row, torch.cat(pictures) if pictures else None)
    if store is not None:
        store.shelf(record.case).finish(made, record.trace.weights)
    return made


def _cost(costs: Sequence[Cost]) -> Cost:
    """Return the cost of a case: the sum of its parts' times, and the largest peak of memory."""
    for cost in costs:
        if cost.generate_seconds is None:
            return cost
    seconds = sum(cost.seconds or 0.0 for cost in costs)
    generating = sum(cost.generate_seconds or 0.0 for cost in costs)
    pruning = max(cost.prune_seconds or 0.0 for cost in costs)
    peak = max(costs, key=lambda cost: cost.tensor_megabytes or 0.0)
    return Cost(seconds, pruning, generating, peak.tensor_megabytes, peak.note)


def _seen(own: Evidence) -> dict[str, list[float]]:
    """Return the stages of the pictures, and of what the networks see in them."""
    last = {"features": project(own.features[:WATCHED]), "scores": own.scores[:WATCHED]}
    return {name: values.flatten().tolist() for name, values in {**own.stages, **last}.items()}


def shortened(stages: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return six digits of every number of a trace: they show every difference beyond the rounding of float32."""
    return {
        name: [float(f"{value:.6g}") if math.isfinite(value) else NOT_FINITE for value in values]
        for name, values in stages.items()
    }
