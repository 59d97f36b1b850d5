"""From a case to its record: the one file that knows the order of the steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.case import Case
from harness.cost.memory import parameter_bytes, peak_memory
from harness.engine import Engine
from harness.errors import HarnessError
from harness.measurement import Measurement, averaged, mean
from harness.pruning import Statistics, needs, prune_component, rounding
from harness.quality.drift import drift
from harness.quality.fid import between, resampled
from harness.quality.generate import Pictures, generate, out_of_memory
from harness.quality.judging import Seen
from harness.quality.kid import kid
from harness.quality.prompts import Prompts
from harness.record import REUSED, Record
from harness.report.pictures import ACROSS
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import Pruning, census, keep_digest, masked, sketch, weights_digest
from pruners.types import Pruned

# Bytes of pruned weights and masks that are made in advance; at true size a level takes 2.6 GB in half precision.
AHEAD = 6 * 10**9
# In the order of reports.
METRICS = ("fid", "fid_dense", "kid", "clip", "composition", "drift")


@dataclass(frozen=True)
class Run:
    """A case's record, and what it rests on.

    images: uint8 `[n, 3, h, w]`, or the first twelve where nobody keeps them all; None where pictures of the same
    weights had been looked at before. weights: digest of the pruned weights, "" where nobody asks for it.
    """

    record: Record
    images: Tensor | None
    seen: Seen
    weights: str


@dataclass(frozen=True)
class Cost:
    """What a generation took: as the record's fields of the same names."""

    seconds: dict[str, float]
    peak_megabytes: float | None
    peak_of: str
    tensor_megabytes: float | None


@dataclass(frozen=True)
class Facts:
    """What is known of a pruned model without making a picture.

    exact: keep masks, counts of zeros, and by how much sparsities may miss the request. seconds: that pruning took.
    weights: digest of the pruned weights.
    """

    exact: dict[str, Any]
    parameter_bytes: dict[str, dict[str, int]]
    seconds: float
    weights: str


@contextmanager
def pruned(case: Case, engine: Engine) -> Iterator[Facts]:
    """Run the body while the target is pruned as the case says; it leaves as dense as it came."""
    target = engine.target
    statistics = engine.statistics(case)
    engine.progress("pruning")
    start = time.perf_counter()
    try:
        pruning, levels = _pruned(case, engine, statistics)
    except RuntimeError as error:
        if out_of_memory(error):
            raise HarnessError(
                f"there is not enough memory on {engine.device} to prune by {case.method}; choose fewer layers (linear)"
            ) from error
        raise
    # Levels that were pruned together share the time; the case that came first would bear it all.
    seconds = (time.perf_counter() - start) / levels
    # The masks of methods without data are the same everywhere; those with data move with the rounding of sums.
    keep = sketch(pruning) if statistics else keep_digest(pruning)
    with masked(target.components, pruning):
        counts = census(target.components, case.layers if case.plan else "all")
        exact: dict[str, Any] = {"keep": keep, "components": counts, "rounding": rounding(target, case)}
        weights = weights_digest(pruning) if engine.seen else ""
        yield Facts(exact, parameter_bytes(target.components), seconds, weights)


def run(case: Case, engine: Engine) -> Run:
    """Prune, generate and measure. The target leaves as dense as it came."""
    # Before anything is pruned: pruned pictures are compared with the dense model's, those with its own (null arm).
    dense = None if case == engine.dense_case() else engine.dense
    prompts = None if any(name.startswith("text_encoder") for name in case.plan) else engine.prompts
    made, cost = None, Cost({}, None, REUSED, None)
    with pruned(case, engine) as facts:
        seen = engine.seen(facts.weights) if engine.seen else None
        if seen is None:
            made, cost = _made(engine, facts, prompts)
    if made is not None:
        engine.progress("judging")
        seen = Seen(engine.judge(made.images), int(made.degenerate.sum()))
        if not engine.keeps_pictures:
            # Ten thousand of Stable Diffusion's take 7.9 GB.
            made = replace(made, images=made.images[:ACROSS].clone())
    assert seen is not None
    opinion = seen.opinion
    if dense is None:
        engine.dense = opinion
        half = max(1, engine.batch_size // 2)
        kept = engine.batches("null")
        again = generate(engine.target, engine.captions, half, engine.progress, kept, engine.prompts)
        dense = engine.judge(again.images)
        del again
    drifts = averaged(drift(opinion.embeddings, dense.embeddings), engine.groups)
    scores = averaged(opinion.clip, engine.groups)
    distances = {"fid_dense": between(opinion.features, dense.features, engine.groups)}
    if engine.reference is not None:
        distances["fid"] = resampled(opinion.features, engine.reference, engine.groups)
    if engine.kid_reference is not None:
        distances["kid"] = kid(opinion.features, engine.kid_reference, engine.groups)
    quality = {name: Measurement(value, of.std().item(), len(scores)) for name, (value, of) in distances.items()}
    quality |= {"clip": mean(scores), "drift": mean(drifts)}
    per_caption = {"clip": scores.tolist(), "drift": drifts.tolist()}
    composition = opinion.composition
    if composition is not None:
        quality["composition"] = composition.accuracy()
        per_caption["composition"] = composition.exact.int().tolist()
    record = Record(
        case=case.id,
        workload=engine.workload_key(case),
        exact=facts.exact,
        requested=case.requested,
        quality={name: quality[name] for name in METRICS if name in quality},
        attributes=composition.by_attribute() if composition is not None else {},
        degenerate=seen.degenerate,
        seconds=cost.seconds,
        peak_megabytes=cost.peak_megabytes,
        peak_of=cost.peak_of,
        tensor_megabytes=cost.tensor_megabytes,
        parameter_bytes=facts.parameter_bytes,
        conditions=engine.conditions(),
        per_caption={name: [round(value, 4) for value in values] for name, values in per_caption.items()},
        resampled={name: [round(value, 4) for value in of.tolist()] for name, (_, of) in distances.items()},
    )
    return Run(record, made.images if made else None, seen, facts.weights)


def _made(engine: Engine, facts: Facts, prompts: Prompts | None) -> tuple[Pictures, Cost]:
    """Generate with the model as it is now."""
    kept, asked = engine.batches("pictures"), engine.batch_size
    with peak_memory(engine.device) as peak:
        start = time.perf_counter()
        made = generate(engine.target, engine.captions, engine.batch_size, engine.progress, kept, prompts)
        seconds = {"prune": facts.seconds, "generate": time.perf_counter() - start}
    engine.batch_size = made.batch_size
    if kept and kept.used:
        # What was measured over a part of the batches says nothing of all.
        return made, Cost({}, None, REUSED, None)
    if made.batch_size < asked:
        return made, Cost({}, None, f"not measured: batches of {asked} did not fit into memory", None)
    return made, Cost(seconds, peak.megabytes, peak.of, round(peak.tensors, 3))


def _on(layers: dict[str, Pruned], device: torch.device | str) -> dict[str, Pruned]:
    return {name: Pruned(one.keep.to(device), one.weight.to(device)) for name, one in layers.items()}


def _pruned(case: Case, engine: Engine, statistics: Statistics | None) -> tuple[Pruning, int]:
    """Prune; where a method works on all levels at once, take those that other cases of the session will ask for.

    Returns the case's own, and how many levels were pruned for it.
    """
    found, made = {}, 1
    for component, level in case.plan.items():
        key = component, case.methods[component], case.layers
        if needs(key[1]) != "gram":
            found[component] = prune_component(engine.target, *key, [level], statistics)[0]
            continue
        if level not in engine.pruned.get(key, {}):
            ahead = engine.planned[engine.planned.index(case) :] if case in engine.planned else []
            alike = [c for c in ahead if (component, c.methods.get(component), c.layers) == key]
            levels = list(dict.fromkeys([level, *(c.plan[component] for c in alike)]))
            weights = [matrix(layer) for layer in prunable(engine.target.components[component], case.layers).values()]
            size = sum(weight.numel() * (weight.element_size() + 1) for weight in weights)
            levels = levels[: max(1, AHEAD // size)]
            made = max(made, len(levels))
            # Two at most are kept, on the CPU: cases follow each other by component, and `both` has two.
            engine.pruned = dict([*engine.pruned.items()][-1:])
            together = prune_component(engine.target, *key, levels, statistics)
            engine.pruned[key] = {name: _on(one, "cpu") for name, one in zip(levels, together, strict=True)}
            del together
        found[component] = _on(engine.pruned[key][level], engine.device)
    return found, made
