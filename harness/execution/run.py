"""From a case to its outcome: the one file that knows the order of the steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

from harness.case import Case
from harness.cost.memory import Memory
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.levels import Levels
from harness.execution.outcome import Outcome
from harness.execution.pictures import make, prompts_of
from harness.execution.statistics import Calibrations
from harness.execution.store import Shelf, Store
from harness.facts import Stack
from harness.generation.generate import Pictures, out_of_memory
from harness.generation.prompts import Prompts
from harness.generation.stages import WATCHED, project
from harness.metrics.composition import by_attribute
from harness.metrics.evidence import Evidence, of_no_picture
from harness.metrics.metric import Sample
from harness.png import row_of
from harness.pruning.prune import rounding
from harness.record import REUSED, SPARED, Cost, Counts, Record, Trace
from harness.surgery.census import census, changed, surviving
from harness.surgery.fingerprint import fingerprint
from harness.surgery.masks import Pruning, keep_digest, masked, sketch, weights_digest
from harness.targets.target import Target

Progress = Callable[[str], None]
# Stands for a number of a trace that is not finite: JSON has no such numbers.
NOT_FINITE = 9e99


@dataclass(frozen=True)
class Caches:
    """Caches that save work. They never change a result."""

    calibrations: Calibrations
    """Statistics for this case and the planned ones."""
    levels: Levels
    """Pruned levels of this case and the planned ones."""
    store: Store | None
    """Finished work on disk; None: nothing is kept or reused."""
    memory: Memory
    """The memory that pipelines need to make pictures."""

    @staticmethod
    def of(bench: Workbench, planned: Sequence[Case] = ()) -> Caches:
        """Return empty caches. planned: the coming cases, in order."""
        folder = bench.setup.store
        store = Store(folder, bench) if folder else None
        return Caches(Calibrations(bench, planned), Levels(bench, planned), store, Memory())


@dataclass(frozen=True)
class Facts:
    """Facts of a pruned model, or of a candidate, that need no picture."""

    case: Case
    """The case."""
    stack: Stack
    """The machine and software."""
    keep: str
    """The digest or the sketch of the keep masks, as in `Record`. For a candidate: of the weights that are not zero."""
    components: dict[str, Counts]
    """Component → counts, as in `Record`."""
    trace: Trace
    """The keep masks and the weights, as in `Record`; no stage after "weights"."""
    target: Target
    """The pipeline that makes the pictures: the target with the pruned weights in it, or the candidate."""
    pruning: Pruning
    """The pruned weights in the target; empty where it is dense, and for a candidate."""
    changed: dict[str, int]
    """As in `Record`."""
    seconds: float
    """Wall time of pruning, or of loading the candidate."""
    before_step: Callable[[int], None] | None = None
    """Puts the weights of a denoising step in, where a case is pruned in some steps only."""


@contextmanager
def ready(case: Case, bench: Workbench, caches: Caches, progress: Progress) -> Iterator[Facts]:
    """Run the body while the pipeline of a case is ready. Afterwards the target is dense, as before.

    Raises:
        HarnessError: A method refuses a layer, memory is not enough, the target does not hold the pruned weights, or a
            candidate cannot take the target's place.
    """
    if case.candidate:
        yield _given(case, bench)
        return
    with pruned(case, bench, caches, progress) as facts:
        yield facts


def _given(case: Case, bench: Workbench) -> Facts:
    """Return the facts of a candidate."""
    start = time.perf_counter()
    target = bench.candidate(case.candidate)
    dense = bench.target.components
    changes = {name: changed(module, dense.get(name)) for name, module in target.components.items()}
    counts = census(target.components, case.layers)
    # The digest of a candidate covers its configurations too, and everything else that makes its pictures.
    trace = Trace("", target.digest, {"weights": fingerprint(target.components)})
    seconds = time.perf_counter() - start
    return Facts(case, bench.stack, surviving(target.components), counts, trace, target, {}, changes, seconds)


@contextmanager
def pruned(case: Case, bench: Workbench, caches: Caches, progress: Progress) -> Iterator[Facts]:
    """Run the body while the target is pruned as the case says: see `ready`."""
    statistics = caches.calibrations.of(case, progress)
    progress("pruning")
    start = time.perf_counter()
    try:
        pruning, levels = caches.levels.prune(case, statistics)
    except RuntimeError as error:
        if out_of_memory(error):
            raise HarnessError(
                f"{case.id}: pruning does not fit into the memory of {bench.device}; choose layers linear, "
                "or another --torch-device"
            ) from error
        raise
    # Levels that are pruned together share the time. Otherwise the first case would show all of it.
    seconds = (time.perf_counter() - start) / levels
    sketched = sketch(pruning) if pruning else ""
    # Masks of methods without data are equal on every machine. Masks from data change with the rounding of sums.
    keep = sketched if case.needs else keep_digest(pruning)
    with masked(bench.target.components, pruning) as switch:
        counts = census(bench.target.components, case.counted, bench.target.family.kinds, case.given_back)
        missed = rounding(bench.target, case)
        components = {name: replace(c, rounding=missed.get(name, 0.0)) for name, c in counts.items()}
        stages = {"weights": fingerprint(bench.target.components)}
        trace = Trace(sketched, weights_digest(pruning, case.window), stages)
        steps = bench.target.protocol.num_inference_steps
        before_step = switch.in_half(case.window, steps) if case.window else None
        yield Facts(case, bench.stack, keep, components, trace, bench.target, pruning, {}, seconds, before_step)


def run(
    case: Case, bench: Workbench, dense: Outcome | None, caches: Caches, progress: Progress, known: str = ""
) -> Outcome:
    """Prune, generate, score and measure.

    Args:
        case: The case.
        bench: The loaded workload. It is left as it was.
        dense: The outcome of the dense case. None for the dense case itself, which is compared with its own pictures at
            another batch size (the null arm).
        caches: Caches that save work.
        progress: Called with a short line about the current work.
        known: SHA-256 of pruned weights. Where the case's have it, no picture is made: see `Record.spared`.

    Raises:
        HarnessError: The case cannot run; the message says why and what to do.
    """
    start = time.perf_counter()
    shelf = caches.store.shelf(case) if caches.store else None
    finished = shelf.finished() if shelf else None
    if finished is not None:
        return finished
    with ready(case, bench, caches, progress) as facts:
        if facts.trace.weights == known:
            return Outcome(_record(case, bench, facts, SPARED), of_no_picture(), b"")
        seen = shelf.seen(facts.trace.weights) if shelf and not bench.setup.keeps_pictures else None
        prompts = prompts_of(bench, facts.target, facts.pruning)
        pictures, cost = (None, _reused()) if seen else _generate(bench, facts, prompts, shelf, progress)
    if seen is not None:
        evidence, row = seen
    elif pictures is not None:
        progress("scoring")
        evidence, row = bench.look(pictures), row_of(pictures.images)
    compared = dense.evidence if dense is not None else _null_arm(bench, shelf, progress)
    progress("measuring")
    record = _measure(case, bench, facts, evidence, compared)
    if pictures is not None and cost.generate_seconds is not None:
        cost = replace(cost, seconds=time.perf_counter() - start)
        progress("measuring memory")
        cost = replace(cost, tensor_megabytes=_memory(bench, facts.target, pictures, prompts, caches.memory))
    kept = pictures.images if pictures is not None and bench.setup.keeps_pictures else None
    outcome = Outcome(replace(record, cost=cost), evidence, row, kept)
    if shelf:
        shelf.finish(outcome, facts.trace.weights)
    return outcome


def _reused() -> Cost:
    return Cost(None, None, None, None, REUSED)


def _generate(
    bench: Workbench, facts: Facts, prompts: Prompts, shelf: Shelf | None, progress: Progress
) -> tuple[Pictures, Cost]:
    """Generate with the target as it is now, and measure the time. `Cost.seconds` and memory are not known yet."""
    kept, asked = shelf.batches("pictures") if shelf else None, bench.setup.batch_size
    start = time.perf_counter()
    pictures = make(facts.target, bench.texts, prompts, asked, progress, kept, facts.before_step)
    seconds = time.perf_counter() - start
    if kept and kept.used:
        # Times of some batches say nothing about all.
        return pictures, _reused()
    if pictures.batch_size < asked:
        note = f"not measured: batches of {asked} did not fit into memory, batches of {pictures.batch_size} did"
        return pictures, Cost(None, None, None, None, note)
    return pictures, Cost(None, facts.seconds, seconds, None)


def _memory(bench: Workbench, target: Target, pictures: Pictures, prompts: Prompts, memory: Memory) -> float | None:
    """Return the peak of the tensors that a generation held. It is measured apart, because counting takes time."""

    def again(quick: Target, captions: Sequence[str]) -> Pictures:
        return make(quick, captions, prompts, pictures.batch_size, lambda _: None)

    return memory.of(target, bench.texts, pictures, prompts, again)


def _null_arm(bench: Workbench, shelf: Shelf | None, progress: Progress) -> Evidence:
    """Return the evidence on the dense model's pictures in smaller batches. Rounding alone makes them differ."""
    half = max(1, min(bench.setup.batch_size, len(bench.texts)) // 2)
    kept = shelf.batches("null") if shelf else None
    return bench.look(make(bench.target, bench.texts, bench.prompts, half, progress, kept))


def _measure(case: Case, bench: Workbench, facts: Facts, own: Evidence, dense: Evidence) -> Record:
    """Return the record of a case, without its cost."""
    sample = Sample(own, dense, bench.reference, bench.texts, bench.workload.groups, str(bench.device))
    values = {metric.name: metric.compute(sample) for metric in bench.metrics}
    return replace(
        _record(case, bench, facts, REUSED, _seen(own)),
        quality={name: value.figure for name, value in values.items()},
        paired={name: [round(v, 4) for v in value.paired.tolist()] for name, value in values.items()},
        degenerate=int(own.degenerate.sum()),
        attributes=by_attribute(own.composition) if own.composition is not None else {},
    )


def _record(
    case: Case, bench: Workbench, facts: Facts, note: str, seen: Mapping[str, list[float]] = MappingProxyType({})
) -> Record:
    """Return the record of a case without figures and cost. seen: the stages after the weights."""
    stages = {name: [_short(v) for v in values] for name, values in {**facts.trace.stages, **seen}.items()}
    return Record(
        case=case,
        workload=bench.facts(case).key,
        keep=facts.keep,
        components=facts.components,
        quality={},
        paired={},
        degenerate=0,
        cost=Cost(None, None, None, None, note),
        conditions=bench.conditions,
        trace=replace(facts.trace, stages=stages),
        changed=facts.changed,
    )


def _seen(own: Evidence) -> dict[str, list[float]]:
    """Return the stages of the pictures, and of what the networks see in them."""
    last = {"features": project(own.features[:WATCHED]), "scores": own.scores[:WATCHED]}
    return {name: values.flatten().tolist() for name, values in {**own.stages, **last}.items()}


def _short(value: float) -> float:
    """Return six digits of a number: they show every difference beyond the rounding of float32."""
    return float(f"{value:.6g}") if math.isfinite(value) else NOT_FINITE
