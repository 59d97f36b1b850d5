"""Changes of baselines: pure functions from the stored baselines to new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import digests
from harness.case import Case
from harness.errors import HarnessError, unknown
from harness.facts import WorkloadFacts
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import LatencyRecord, Record
from harness.verdict import sidecar
from harness.verdict.baseline import (
    LATENCY_NOISE,
    LATENCY_TOLERANCE,
    MEMORY_TOLERANCE,
    Baselines,
    Entry,
    Figure,
    LatencyFigure,
    MemoryFigure,
    Noise,
    Provenance,
)


def content_of(record: Record) -> bytes:
    """Return the content of a record's sidecar."""
    return sidecar.content(record.case.id, record.keep, record.paired, record.trace)


def entry_of(record: Record, provenance: Provenance, old: Entry | None) -> Entry:
    """Return the entry of a record, with the tolerances and the noise that the rules of `METRICS` give.

    Args:
        record: The measured values.
        provenance: The origin of the record. Its threads are taken from the record.
        old: The entry that it replaces. Measured noise of the case stays, and the tolerance is then at least three
            times that noise.

    Raises:
        HarnessError: A metric is unknown.
    """
    measured = old.quality if old is not None and old.provenance.noise_runs else {}
    quality = {}
    for name, of in record.quality.items():
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
        metric, solved = METRICS[name], record.case.moves_weights
        tolerance, noise, spread = metric.allowed(of, solved), metric.expected_noise(of, solved), 0.0
        if name in measured:
            noise, spread = measured[name].noise, measured[name].spread
            tolerance = max(tolerance, 3 * noise)
        quality[name] = Figure(of.value, of.se, of.n, tolerance, noise, spread)
    memory, megabytes = None, record.cost.tensor_megabytes
    if megabytes is not None:
        allowed = max(0.001, round(MEMORY_TOLERANCE * megabytes, 3))
        memory = MemoryFigure(megabytes, allowed, record.conditions.batch_size)
    elif old is not None:
        memory = old.memory
    provenance = replace(provenance, threads=record.conditions.threads)
    if measured and old is not None:
        kept = old.provenance
        provenance = replace(provenance, noise_runs=kept.noise_runs, noise_from=kept.noise_from)
    return Entry(
        workload=record.workload,
        stack=record.conditions.stack.key,
        quality=quality,
        components=record.components,
        degenerate=record.degenerate,
        memory=memory,
        provenance=provenance,
        sidecar=digests.of_bytes(content_of(record)),
    )


def with_records(
    old: Baselines, records: Sequence[Record], facts: Mapping[str, WorkloadFacts], provenance: Provenance
) -> Baselines:
    """Return baselines with the given records put in. All other entries stay as they are.

    Args:
        old: The stored baselines.
        records: The measured values.
        facts: Key → facts of the records' workloads.
        provenance: The origin of the records.

    Raises:
        HarnessError: A metric is unknown, or nobody knows the facts of a workload.
    """
    cases, stacks = dict(old.cases), dict(old.stacks)
    workloads = {**old.workloads, **facts}
    for record in records:
        if record.workload not in workloads:
            raise HarnessError(f"{record.case.id}: the facts of its workload {record.workload} are not given")
        stack = record.conditions.stack
        stacks[stack.key] = stack
        entries = cases.get(record.case.id, ())
        replaced = [e for e in entries if e.workload == record.workload and not stacks[e.stack].differences(stack)]
        newest = max(replaced, key=lambda entry: (entry.stack == stack.key, entry.provenance.date), default=None)
        kept = [entry for entry in entries if entry not in replaced]
        new = entry_of(record, provenance, newest)
        cases[record.case.id] = tuple(sorted([*kept, new], key=lambda entry: entry.key))
    return _tidy(Baselines(cases, workloads, stacks, old.latency))


def with_latencies(old: Baselines, latencies: Sequence[LatencyRecord], provenance: Provenance) -> Baselines:
    """Return baselines with ratios of latencies put in. Ratios of other cases and other stacks stay."""
    latency, stacks = {case: dict(by_stack) for case, by_stack in old.latency.items()}, dict(old.stacks)
    for record in latencies:
        stacks[record.stack.key] = record.stack
        ratio = record.ratio
        figure = Figure(ratio.value, ratio.se, ratio.n, LATENCY_TOLERANCE, LATENCY_NOISE)
        by_stack = latency.get(record.case.id, {})
        kept = {key: old for key, old in by_stack.items() if stacks[key].differences(record.stack)}
        latency[record.case.id] = {**kept, record.stack.key: LatencyFigure(figure, provenance)}
    return _tidy(replace(old, latency=latency, stacks=stacks))


def with_noise(
    old: Baselines, case: Case, key: str, noise: Mapping[str, Noise], runs: int, provenance: Provenance
) -> Baselines:
    """Return baselines with the measured noise of one entry put in, and the tolerances that follow from it.

    Args:
        old: The stored baselines.
        case: The case.
        key: The entry's key.
        noise: Metric → its noise between the runs.
        runs: Number of runs that measured the noise.
        provenance: Commit, date and reason of the measurement, and the settings that it covered.

    Raises:
        HarnessError: The entry is gone, or lacks a metric.
    """
    entry = next((entry for entry in old.cases.get(case.id, ()) if entry.key == key), None)
    if entry is None:
        raise HarnessError(f"{case.id}: its baseline has been removed while its noise was measured; store it again")
    try:
        figures = {name: noisy(entry.quality[name], METRICS[name], one, case) for name, one in noise.items()}
    except (KeyError, ValueError) as error:
        raise HarnessError(
            f"{case.id}: its baseline has changed while its noise was measured ({error}); retry"
        ) from error
    text = f"{provenance.commit} {provenance.date}: {provenance.reason}"
    source = replace(entry.provenance, noise_runs=runs, noise_from=text)
    new = replace(entry, quality={**entry.quality, **figures}, provenance=source)
    entries = tuple(new if other.key == key else other for other in old.cases[case.id])
    return replace(old, cases={**old.cases, case.id: entries})


def noisy(figure: Figure, metric: Metric, noise: Noise, case: Case) -> Figure:
    """Return a figure with measured noise. Its tolerance is the metric's, or three times the noise if that is more.

    Three times the noise is rounded up to four decimals.

    Raises:
        ValueError: The noise is not finite.
    """
    tolerance = max(metric.allowed(figure, case.moves_weights), math.ceil(30_000 * noise.sigma) / 10_000)
    return replace(figure, tolerance=tolerance, noise=noise.sigma, spread=noise.spread)


def _tidy(baselines: Baselines) -> Baselines:
    """Return baselines without the workloads and stacks that no entry has."""
    entries = [entry for of_case in baselines.cases.values() for entry in of_case]
    workloads = {entry.workload for entry in entries}
    stacks = {entry.stack for entry in entries} | {key for by in baselines.latency.values() for key in by}
    return replace(
        baselines,
        workloads={key: facts for key, facts in baselines.workloads.items() if key in workloads},
        stacks={key: stack for key, stack in baselines.stacks.items() if key in stacks},
    )
