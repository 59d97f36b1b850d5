"""From a case to its outcome: the one file that knows the order of the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from harness.case import Case
from harness.cost.memory import Memory
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.captioned import of_captions
from harness.execution.levels import Levels, Solved, on_device
from harness.execution.outcome import Outcome
from harness.execution.parts import Part, outcome, shortened
from harness.execution.pictures import make, prompts_of
from harness.execution.statistics import Calibrations
from harness.execution.store import Shelf, Store
from harness.facts import Stack
from harness.generation.generate import Pictures, out_of_memory
from harness.generation.prompts import Prompts
from harness.metrics.evidence import Evidence, of_no_picture
from harness.png import ACROSS
from harness.pruning.prune import rounding
from harness.record import REUSED, SPARED, Cost, Counts, Record, Trace
from harness.surgery.census import census, changed, surviving
from harness.surgery.fingerprint import fingerprint
from harness.surgery.masks import keep_digest, masked, sketch, weights_digest
from harness.targets.target import Target

Progress = Callable[[str], None]


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
    pruned: tuple[str, ...]
    """The components of the target that are pruned; empty where it is dense, and for a candidate."""
    changed: dict[str, int]
    """As in `Record`."""
    seconds: float
    """Wall time of pruning, or of loading the candidate."""
    before_step: Callable[[int], None] | None = None
    """Puts the weights of a denoising step in, where a case is pruned in some steps only."""


@contextmanager
def ready(
    case: Case, bench: Workbench, caches: Caches, progress: Progress, solved: Solved | None = None
) -> Iterator[Facts]:
    """Run the body while the pipeline of a case is ready. Afterwards the target is dense, as before.

    Args:
        case: The case.
        bench: The loaded workload.
        caches: Caches that save work.
        progress: Called with a short line about the current work.
        solved: The case's pruned weights; None: they are made here.

    Raises:
        HarnessError: A method refuses a layer, memory is not enough, the target does not hold the pruned weights, or a
            candidate cannot take the target's place.
    """
    if case.candidate:
        yield _given(case, bench)
        return
    with pruned(case, bench, caches, progress, solved) as facts:
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
    return Facts(case, bench.stack, surviving(target.components), counts, trace, target, (), changes, seconds)


def solve(case: Case, bench: Workbench, caches: Caches, progress: Progress) -> Solved:
    """Return the pruned weights of a case. Errors as for `ready`."""
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
    return Solved(pruning, (time.perf_counter() - start) / levels)


@contextmanager
def pruned(
    case: Case, bench: Workbench, caches: Caches, progress: Progress, solved: Solved | None = None
) -> Iterator[Facts]:
    """Run the body while the target is pruned as the case says: see `ready`."""
    solved = solved or solve(case, bench, caches, progress)
    pruning, seconds = on_device(solved.pruning, bench.device), solved.seconds
    sketched = sketch(pruning) if pruning else ""
    # Masks of methods without data are equal on every machine. Masks from data change with the rounding of sums.
    keep = sketched if case.needs else keep_digest(pruning)
    progress("checking the pruned weights")
    with masked(bench.target.components, pruning) as switch:
        counts = census(bench.target.components, case.counted, bench.target.family.kinds, case.given_back)
        missed = rounding(bench.target, case)
        components = {name: replace(c, rounding=missed.get(name, 0.0)) for name, c in counts.items()}
        stages = {"weights": fingerprint(bench.target.components)}
        trace = Trace(sketched, weights_digest(pruning, case.window), stages)
        steps = bench.target.protocol.num_inference_steps
        before_step = switch.in_half(case.window, steps) if case.window else None
        names = tuple(pruning)
        if not case.window:
            # The model holds the weights now. A second copy takes as much memory as the component.
            switch.release()
            del pruning, solved
        yield Facts(case, bench.stack, keep, components, trace, bench.target, names, {}, seconds, before_step)


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
    made = part(case, bench, caches, progress, known, null=dense is None)
    if isinstance(made, Outcome):
        return made
    progress("measuring")
    return outcome([made], bench, dense, caches.store)


def part(
    case: Case,
    bench: Workbench,
    caches: Caches,
    progress: Progress,
    known: str = "",
    captions: tuple[int, int] | None = None,
    solved: Solved | None = None,
    null: bool = False,
) -> Part | Outcome:
    """Prune, generate and score, for all captions of a case or for a shard of them.

    Args:
        case: The case.
        bench: The loaded workload. It is left as it was.
        caches: Caches that save work.
        progress: Called with a short line about the current work.
        known: As for `run`.
        captions: The number of the first caption, and of the caption after the last one; None: all captions.
        solved: The case's pruned weights; None: they are made here.
        null: Whether pictures are also made in smaller batches: the null arm of the dense case.

    Returns:
        The part; or the outcome of the whole case, where the store has it, or no picture is needed.

    Raises:
        HarnessError: As for `run`.
    """
    start = time.perf_counter()
    shelf = caches.store.shelf(case) if caches.store else None
    finished = shelf.finished() if shelf else None
    if finished is not None:
        return finished
    shard = of_captions(bench, *captions) if captions else bench
    with ready(case, bench, caches, progress, solved) as facts:
        if facts.trace.weights == known:
            return Outcome(_record(case, bench, facts, SPARED), of_no_picture(), b"")
        seen = shelf.seen(facts.trace.weights) if shelf and not bench.setup.keeps_pictures else None
        prompts = prompts_of(bench, facts.target, facts.pruned)
        pictures, cost = (None, _reused()) if seen else _generate(shard, facts, prompts, shelf, progress)
    record = _record(case, bench, facts, REUSED)
    if pictures is None:
        assert seen is not None
        arm = _null_arm(bench, shelf, progress) if null else None
        return Part(replace(record, cost=cost), 0, seen[0], torch.empty(0), null=arm, row=seen[1])
    progress("scoring")
    evidence = shard.look(pictures)
    arm = _null_arm(shard, shelf, progress) if null else None
    if cost.generate_seconds is not None:
        cost = replace(cost, seconds=time.perf_counter() - start)
        if not cost.note:
            progress("measuring memory")
            again = partial(make, prompts=prompts, batch_size=pictures.batch_size, progress=progress)
            megabytes = caches.memory.of(facts.target, shard.texts, pictures, prompts, again)
            cost = replace(cost, tensor_megabytes=megabytes)
    shown = pictures.images[: max(0, ACROSS - shard.first)].clone()
    kept = pictures.images if bench.setup.keeps_pictures else None
    return Part(replace(record, cost=cost), shard.first, evidence, shown, kept, arm)


def _reused() -> Cost:
    return Cost(None, None, None, None, REUSED)


def _generate(
    bench: Workbench, facts: Facts, prompts: Prompts, shelf: Shelf | None, progress: Progress
) -> tuple[Pictures, Cost]:
    """Generate with the target as it is now, and measure the time. `Cost.seconds` and memory are not known yet."""
    kept, asked = shelf.batches("pictures", bench.first) if shelf else None, bench.setup.batch_size
    start = time.perf_counter()
    pictures = make(facts.target, bench.texts, prompts, asked, progress, kept, facts.before_step)
    seconds = time.perf_counter() - start
    if kept and kept.used:
        # Times of some batches say nothing about all.
        return pictures, _reused()
    if pictures.batch_size < asked:
        note = f"not measured: batches of {asked} did not fit into memory, batches of {pictures.batch_size} did"
        return pictures, Cost(None, None, None, None, note)
    count, every = len(bench.texts), len(bench.workload.captions)
    # On a CPU all pictures and encoded captions are among the tensors, and a shard has fewer of them.
    apart = count < every and (count < asked or bench.device.type == "cpu")
    note = f"memory not measured: shards of {count} captions" if apart else ""
    return pictures, Cost(None, facts.seconds, seconds, None, note)


def _null_arm(bench: Workbench, shelf: Shelf | None, progress: Progress) -> Evidence:
    """Return the evidence on the dense model's pictures in smaller batches. Rounding alone makes them differ."""
    half = max(1, min(bench.setup.batch_size, len(bench.texts)) // 2)
    kept = shelf.batches("null", bench.first) if shelf else None
    return bench.look(make(bench.target, bench.texts, bench.prompts, half, progress, kept))


def _record(case: Case, bench: Workbench, facts: Facts, note: str) -> Record:
    """Return the record of a case without figures and cost. Its trace ends with the weights."""
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
        trace=replace(facts.trace, stages=shortened(facts.trace.stages)),
        changed=facts.changed,
    )
