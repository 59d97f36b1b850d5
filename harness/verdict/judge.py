"""Compares a record with its baseline, gate by gate: exact, degenerate, quality, memory. Latency has its own gate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace

from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS
from harness.record import LatencyRecord, Record
from harness.targets.resolve import EMBEDDED
from harness.verdict.baseline import Baseline, MemoryFigure
from harness.verdict.effect import Anchor, Rules, anchor
from harness.verdict.exact import as_asked, exact, facts
from harness.verdict.quality import by_effect, quality
from harness.verdict.repository import Command, Damaged, Repository
from harness.verdict.stages import Dense, sentence
from harness.verdict.statistics import FALSE_ALARMS, IMPROVED, PASS, REGRESSION, decide, p_value
from harness.verdict.verdict import NO_BASELINE, NOT_COMPARED, UNCHANGED, Verdict

STRICT = Rules()
FLOORS = "tolerances are floors: nobody has measured how far figures of this model vary; add --calibrate-noise 6 once"
# Field of `WorkloadFacts` → its words in a message, where the name of the field says too little.
_FACTS = {
    "model": "the weights or configurations of the model", "captions": "the captions", "n": "the number of captions",
    "latent_seed": "the start noise", "scheduler": "the scheduler", "scorer": "the scorer",
    "features": "the network of FID", "reference": "the reference pictures", "num_inference_steps": "the steps",
    "calibration": "the captions of the calibration", "guidance_scale": "the guidance",
}  # fmt: skip


def in_ci() -> bool:
    """Return whether the variable CI is set, and is not empty, "0" or "false"."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def judge(
    record: Record,
    repository: Repository,
    dense: Record | None = None,
    rules: Rules = STRICT,
    workload: WorkloadFacts | None = None,
) -> Verdict:
    """Return the verdict on one record. The first gate that objects decides.

    Args:
        record: The measured values.
        repository: The stored baselines.
        dense: The dense model of the same run. It shows whether another stack moves figures. None: nobody knows, and
            figures must be those of the baseline.
        rules: How the run wants its cases to be judged.
        workload: The facts of the record's workload, for a message that names what differs; None: nobody knows them.
    """
    impossible = as_asked(record.case.requested, record.components)
    if impossible:
        return impossible
    before = _baseline(record, repository, workload)
    if isinstance(before, Verdict):
        return before
    if record.spared:
        return exact(record, before) or _bytes(record, before) or Verdict(UNCHANGED, "all", moved=False)
    unequal, notes = _measured_alike(record, before, repository.path.name, repository.command)
    if unequal:
        return unequal
    against = _anchor(record, before, repository, dense, rules)
    verdict = facts(record, before)
    if verdict is None and against is None:
        verdict = quality(record, before, repository)
        if verdict is not None and record.case.moves_weights:
            # Weights that are solved for move with the rounding of sums, and so with the number of threads.
            threads = before.entry.provenance.threads or None
            against = _anchor(record, before, repository, dense, rules, threads)
            verdict = None if against is not None else verdict
    if verdict is None and against is not None:
        verdict, undecided = by_effect(record, before, repository, against, rules)
        notes += [undecided] if undecided else []
    memory, note = _memory(record, before)
    notes += [note] if note else []
    known = record.case.target == EMBEDDED and record.stack.dtype == "float32"
    if not known and against is None and not before.entry.provenance.noise_runs:
        notes.append(FLOORS)
    verdict = verdict or memory
    if verdict is not None:
        others = Dense(against.before, against.now) if against is not None and not record.case.is_dense else None
        where = sentence(before, record, verdict.gate, others)
        verdict = replace(verdict, reason="; ".join(filter(None, (verdict.reason, where))))
    verdict = verdict or Verdict(PASS, "all", moved=False, note="; ".join(notes))
    return verdict if against is None else replace(verdict, by_effect=True, note="; ".join([against.sentence, *notes]))


def _baseline(record: Record, repository: Repository, workload: WorkloadFacts | None) -> Baseline | Verdict:
    """Return the baseline of a record, or the verdict where there is none to compare with."""
    case, file = record.case, repository.path.name
    if not repository.entries(case):
        return Verdict(
            NO_BASELINE, "baseline", f"{file} has no baseline of this case; store it with {repository.command(case.id)}"
        )
    try:
        before = repository.find(case, record.workload, record.conditions.stack)
    except Damaged as error:
        return Verdict(NO_BASELINE, "baseline", str(error))
    if before is not None:
        return before
    stored = [repository.baselines.workloads[entry.workload] for entry in repository.entries(case)]
    reason = _differs(file, record.workload, workload, stored)
    return Verdict(NOT_COMPARED, "baseline", f"{reason} {repository.command(case.id)}")


def _anchor(
    record: Record,
    before: Baseline,
    repository: Repository,
    dense: Record | None,
    rules: Rules,
    threads: int | None = None,
) -> Anchor | None:
    """Return the anchor where the case is judged by its effect, else None."""
    if dense is None:
        return None
    try:
        stored = repository.find(dense.case, dense.workload, before.stack)
    except Damaged:
        # The verdict on the dense model says so.
        return None
    return anchor(dense, stored, rules, record.case.moves_weights, threads) if stored is not None else None


def _differs(file: str, key: str, ours: WorkloadFacts | None, stored: Sequence[WorkloadFacts]) -> str:
    """Return what differs between this run's workload and the most similar one that is stored, and what to do."""
    if ours is None:
        known = ", ".join(sorted({facts.key for facts in stored}))
        return (
            f"this workload is {key}, {file} has {known}: the model, the captions, the scorers or the protocol differ; "
            "store the case again with"
        )
    changes = [
        [name for name, value in asdict(ours).items() if value != getattr(facts, name)]
        for facts in sorted(stored, key=lambda facts: facts.key)
    ]
    fewest = min(changes, key=len)
    reason = f"{file} has this case with other facts: {', '.join(_FACTS.get(name, name) for name in fewest)}; "
    if "model" in fewest:
        reason += f"if this is another pipeline called {ours.target}, give it a file of its own with --baselines; else "
    return f"{reason}store the case beside the old one with"


def _measured_alike(record: Record, before: Baseline, file: str, command: Command) -> tuple[Verdict | None, list[str]]:
    """Return the verdict on metrics that only the run or only the baseline has, and notes on the optional ones."""
    new = [name for name in METRICS if name in record.quality and name not in before.quality]
    gone = [name for name in METRICS if name in before.quality and name not in record.quality]
    wanted, lost = ([name for name in names if METRICS[name].default] for names in (new, gone))
    if wanted:
        reason = f"{file} has no {' and no '.join(wanted)} of this case; store it with {command(record.case.id)}"
        return Verdict(NO_BASELINE, "baseline", reason), []
    if lost:
        reason = f"this run has no {' and no '.join(lost)}, which {file} has; every run measures the default metrics. "
        reason += f"To do without, store the case again with {command(record.case.id)}"
        return Verdict(NOT_COMPARED, "baseline", reason), []
    notes = []
    if new:
        store = f"store one with {command('')}"
        notes.append(f"not judged: {' and '.join(new)} has no baseline; {store}")
    if gone:
        notes.append(f"not judged: {' and '.join(gone)} was not measured; add --metrics {','.join(gone)}")
    return None, notes


def _memory(record: Record, before: Baseline) -> tuple[Verdict | None, str]:
    stack = record.conditions.stack
    if before.stack.dtype != stack.dtype:
        return None, f"memory was not compared: the dtype is {stack.dtype}, the baseline's {before.stack.dtype}"
    larger = _bytes(record, before)
    if larger:
        return larger, ""
    megabytes, batch = record.cost.tensor_megabytes, record.conditions.batch_size
    if megabytes is None:
        return None, f"memory was not compared: {record.cost.note or 'not measured'}"
    memory = before.entry.memory
    if memory is None or before.stack.differences(stack) or memory.batch_size != batch:
        return None, f"memory was not compared: no baseline of {_words(stack)}, batch_size {batch}"
    return _tensors(megabytes, memory), ""


def _bytes(record: Record, before: Baseline) -> Verdict | None:
    for component, counts in before.components.items():
        now = record.components[component]
        for what, ours, theirs in (
            ("dense", now.dense_bytes, counts.dense_bytes),
            ("stored", now.stored_bytes, counts.stored_bytes),
        ):
            # Zeros that the exact gate allows to differ on another stack take other bytes.
            if ours != theirs and (what == "dense" or now.zeros == counts.zeros):
                reason = f"the parameters of {component} take {ours:,} bytes {what}, the baseline {theirs:,}"
                return Verdict(REGRESSION if ours > theirs else IMPROVED, "memory", reason)
    return None


def _tensors(megabytes: float, before: MemoryFigure) -> Verdict | None:
    change = megabytes - before.value
    if abs(change) <= before.tolerance:
        return None
    reason = f"generation needs {megabytes:.1f} MB of tensors at once, the baseline {before.value:.1f} "
    reason += f"({change:+.1f}, tolerance ±{before.tolerance:.1f})"
    return Verdict(REGRESSION if change > 0 else IMPROVED, "memory", reason)


def judge_latency(record: LatencyRecord, repository: Repository) -> Verdict:
    """Return the verdict on a ratio of latencies, pruned / dense. Times themselves are never compared."""
    case, ratio = record.case, record.ratio
    if not repository.baselines.latency.get(case.id):
        reason = f"{repository.path.name} has no latency of {case.id}; store it with {repository.command(case.id)}"
        return Verdict(NO_BASELINE, "latency", reason)
    stored = repository.latency(case, record.stack)
    if stored is None:
        note = f"latency was not compared: no baseline of {_words(record.stack)}"
        return Verdict(PASS, "all", moved=False, note=note)
    before = stored.figure
    slower_by, se = ratio.value - before.value, (ratio.se**2 + before.se**2) ** 0.5
    alpha = FALSE_ALARMS / repository.comparisons
    kind = decide(slower_by, se, before.noise, before.tolerance, alpha, ratio.n)
    p = p_value(slower_by, se, before.noise, ratio.n)
    line = f"pruned / dense {before.value:.3f} → {ratio.value:.3f} ({slower_by:+.3f} ± {se:.3f}, "
    line += f"tolerance ±{before.tolerance:g}, {ratio.n} rounds, p {p:.1g})"
    return Verdict(kind, "latency", "" if kind == PASS else line, moved=kind in (REGRESSION, IMPROVED))


def _words(stack: Stack) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(stack).items())
