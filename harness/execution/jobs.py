"""What has to be done for cases, as units of work for the workers of a cluster. No torch, no cluster."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from harness.case import Case
from harness.execution.queue import Unit
from pruners import METHODS

# Kinds of jobs.
CALIBRATE, PRUNE, PART, OUTCOME = "calibrate", "prune", "part", "outcome"
# Shards are so small that a worker has about so many: the last ones then end at about the same time.
SHARDS_PER_WORKER = 20


@dataclass(frozen=True)
class Job:
    """The work of one unit."""

    kind: str
    """"calibrate": the statistics for all cases. "prune": the pruned weights of a case. "part": the pictures of some
    captions, and what the networks see in them. "outcome": the figures of a case from all its parts."""
    case: Case
    """The case; for a calibration, the dense one."""
    first: int = 0
    """The number of the first caption of a part."""
    last: int = 0
    """The number of the caption after the part."""
    by_steps: bool = False
    """Whether a calibration weighs early denoising steps more."""


@dataclass(frozen=True)
class Costs:
    """Estimated times, all in one unit."""

    picture: float = 1.0
    """Of one picture, with its scores."""
    mask: float = 2.0
    """Of pruning one case without data. Every part of a case prunes for itself."""
    solve: float = 8.0
    """Of pruning one case with data."""
    calibrate: float = 32.0
    """Of one calibration."""
    measure: float = 1.0
    """Of the figures of one case."""


def calibrations(case: Case) -> tuple[Job, ...]:
    """Return the calibrations that a case reads: one for most methods, one for those that weigh steps."""
    needed = [METHODS[name].needs for name in case.methods.values()]
    kinds = sorted({"steps" in needs for needs in needed if needs})
    return tuple(Job(CALIBRATE, Case(case.target), by_steps=kind) for kind in kinds)


def parts(case: Case, captions: int, shard: int) -> list[Job]:
    """Return the parts of a case. captions: how many there are. shard: captions of a part."""
    return [Job(PART, case, first, min(first + shard, captions)) for first in range(0, captions, shard)]


def shares_weights(case: Case, sharded: bool) -> bool:
    """Return whether the weights of a case are pruned apart from its pictures, and shared by all its parts.

    So are weights of methods that prune all levels at once, and weights from data that several parts need.
    """
    return any(METHODS[name].batches_levels for name in case.methods.values()) or (sharded and bool(case.needs))


def units(cases: Sequence[Case], captions: int, shard: int, costs: Costs | None = None) -> list[Unit]:
    """Return the units of cases, in the order in which a user waits for them. The dense case is added if it is missing.

    Args:
        cases: The cases, in order.
        captions: Captions of a case.
        shard: Captions of a part.
        costs: The estimated times; None: those of a small model.
    """
    costs = costs or Costs()
    dense = Case(cases[0].target)
    ordered = list(dict.fromkeys((dense, *cases)))
    shared = dict.fromkeys(job for case in ordered for job in calibrations(case))
    first, *others = [of_case(case, captions, shard, costs) for case in ordered]
    made = [*first, *(Unit(job, costs.calibrate, urgent=True) for job in shared)]
    solved: set[Hashable] = set()
    for unit in (unit for own in others for unit in own):
        # The worker solves for all levels of a group at once, and has the others at hand.
        made.append(replace(unit, cost=costs.mask) if unit.stays in solved else unit)
        solved |= {unit.stays} - {None}
    return made


def of_case(case: Case, captions: int, shard: int, costs: Costs) -> list[Unit]:
    """Return the units of one case without its calibrations. The outcome comes first: it is short, and waited for.

    Arguments as for `units`.
    """
    read, own = calibrations(case), parts(case, captions, shard)
    # The dense model makes its pictures twice, in two sizes of batches.
    picture = costs.picture * (2 if case.is_dense else 1)
    compared = () if case.is_dense else (Job(OUTCOME, Case(case.target)),)
    made = [Unit(Job(OUTCOME, case), costs.measure, (*own, *compared), urgent=True)]
    pruning, needs = 0.0 if case.is_dense else costs.solve if read else costs.mask, read
    if shares_weights(case, len(own) > 1):
        made.append(Unit(Job(PRUNE, case), costs.solve, read, stays=case.group, reads=read or None, urgent=True))
        pruning, needs, read = 0.0, (Job(PRUNE, case),), ()
    return made + [Unit(job, pruning + picture * (job.last - job.first), needs, reads=read or None) for job in own]


def shard_of(cases: int, captions: int, workers: int, batch_size: int) -> int:
    """Return how many captions a part has where nobody says it: all, unless workers would end at different times.

    Args:
        cases: How many cases there are.
        captions: Captions of a case.
        workers: How many workers there are.
        batch_size: Pictures generated at once. Parts are whole batches.
    """
    if workers == 1:
        return captions
    wanted = captions * cases / (workers * SHARDS_PER_WORKER)
    return min(captions, max(1, math.ceil(wanted / batch_size)) * batch_size)
