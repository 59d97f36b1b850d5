"""Compares a record with its baseline, gate by gate: exact, degenerate, quality, memory. Latency has its own gate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS
from harness.record import Counts, LatencyRecord, Measured, Record
from harness.verdict.baseline import Baseline, Entry, MemoryFigure
from harness.verdict.repository import Command, Damaged, Repository
from harness.verdict.statistics import (
    DIGEST_DIGITS,
    FALSE_ALARMS,
    IMPROVED,
    PASS,
    REGRESSION,
    UNDERPOWERED,
    decide,
    difference,
    different_bits,
    p_value,
    shaky,
)

# The share of a sketch that may differ, because masks of calibrated methods change with the rounding of sums.
MASK_TOLERANCE = 0.01
NOT_COMPARED, NO_BASELINE = "NOT COMPARED", "NO BASELINE"
# Field of `WorkloadFacts` → its words in a message, where the name of the field says too little.
_FACTS = {
    "model": "the weights or configurations of the model", "captions": "the captions", "n": "the number of captions",
    "latent_seed": "the start noise", "scheduler": "the scheduler", "scorer": "the scorer",
    "features": "the network of FID", "reference": "the reference pictures", "num_inference_steps": "the steps",
    "calibration": "the captions of the calibration", "guidance_scale": "the guidance",
}  # fmt: skip
# The order in which verdicts are reported: the gravest first.
_GRAVITY = (REGRESSION, UNDERPOWERED, IMPROVED)


@dataclass(frozen=True)
class Verdict:
    """The result of judging one case."""

    kind: str
    """PASS, REGRESSION, IMPROVED, UNDERPOWERED, NOT COMPARED or NO BASELINE."""
    gate: str
    """The gate that decided."""
    reason: str = ""
    """Why the verdict is not PASS, in one line; "" for PASS."""
    moved: bool = True
    """Whether a figure has left its tolerance."""
    note: str = ""
    """What was not compared, and why."""

    @property
    def passed(self) -> bool:
        """Return whether the verdict is PASS."""
        return self.kind == PASS

    def red(self, ci: bool, gains_pass: bool) -> bool:
        """Return whether the case fails.

        UNDERPOWERED always fails in CI. Elsewhere it fails only where a figure has left its tolerance. Captions and
        start noise are the baseline's, so unchanged code cannot move a figure that far.

        Args:
            ci: Whether the run is in CI.
            gains_pass: Whether IMPROVED passes.
        """
        if self.kind == UNDERPOWERED:
            return ci or self.moved
        return not self.passed and not (gains_pass and self.kind == IMPROVED)


def in_ci() -> bool:
    """Return whether the variable CI is set, and is not empty, "0" or "false"."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def judge(record: Record, repository: Repository, workload: WorkloadFacts | None = None) -> Verdict:
    """Return the verdict on one record. The first gate that objects decides.

    Args:
        record: The measured values.
        repository: The stored baselines.
        workload: The facts of the record's workload, for a message that names what differs; None: nobody knows them.
    """
    impossible = _as_asked(record.case.requested, record.components)
    if impossible:
        return impossible
    case, file = record.case, repository.path.name
    if not repository.entries(case):
        return Verdict(
            NO_BASELINE, "baseline", f"{file} has no baseline of this case; store it with {repository.command(case.id)}"
        )
    try:
        before = repository.find(case, record.workload, record.conditions.stack)
    except Damaged as error:
        return Verdict(NO_BASELINE, "baseline", str(error))
    if before is None:
        stored = [repository.baselines.workloads[entry.workload] for entry in repository.entries(case)]
        reason = _differs(file, record.workload, workload, stored)
        return Verdict(NOT_COMPARED, "baseline", f"{reason} {repository.command(case.id)}")
    unequal, notes = _measured_alike(record, before, file, repository.command)
    if unequal:
        return unequal
    verdict = facts(record, before) or _quality(record, before, repository)
    memory, note = _memory(record, before.entry)
    notes += [note] if note else []
    return verdict or memory or Verdict(PASS, "all", moved=False, note="; ".join(notes))


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


def facts(record: Measured, before: Measured) -> Verdict | None:
    """Return the verdict of the gates before quality (exact, degenerate); None if nothing differs."""
    return exact(record.case.requested, record.keep, record.components, before) or _degenerate(record, before)


def exact(
    requested: Mapping[str, float], keep: str, components: Mapping[str, Counts], before: Measured
) -> Verdict | None:
    """Return the verdict on counts and keep masks, which need no picture; None if nothing differs.

    Args:
        requested: Component → requested sparsity.
        keep: The digest or the sketch of the keep masks.
        components: Component → counts.
        before: The baseline, or the earlier run.
    """
    impossible = _as_asked(requested, components)
    if impossible:
        return impossible
    for component, counts in before.components.items():
        ours = components.get(component)
        for name in ("parameters", "targeted", "zeros"):
            value, wanted = None if ours is None else getattr(ours, name), getattr(counts, name)
            if value != wanted:
                return Verdict(REGRESSION, "exact", f"{component} has {name} {value}, the baseline {wanted}")
    if keep == before.keep:
        return None
    differ, bits = different_bits(keep, before.keep)
    digest = len(keep) == DIGEST_DIGITS
    if digest or differ > MASK_TOLERANCE * bits:
        reason = "the same number of weights is pruned, but different ones: the keep masks differ"
        return Verdict(REGRESSION, "exact", reason + ("" if digest else f" at {differ} of {bits} sampled places"))
    return None


def _as_asked(requested: Mapping[str, float], components: Mapping[str, Counts]) -> Verdict | None:
    for component, sparsity in requested.items():
        counts = components[component]
        # Every group rounds to whole weights, and trained weights that are exactly zero count as pruned.
        if abs(counts.sparsity_targeted - sparsity) > 1e-3 + counts.rounding:
            reason = f"{component} was to be pruned to {sparsity:.2%}, achieved {counts.sparsity_targeted:.2%}"
            return Verdict(REGRESSION, "exact", reason)
    return None


def _degenerate(record: Measured, before: Measured) -> Verdict | None:
    captions = max((len(of) for name, of in record.paired.items() if METRICS[name].pairing == "caption"), default=0)
    change = record.degenerate - before.degenerate
    if abs(change) <= max(1, round(0.02 * captions)):
        return None
    kind = REGRESSION if change > 0 else IMPROVED
    reason = f"{record.degenerate} pictures are degenerate, the baseline has {before.degenerate}"
    return Verdict(kind, "degenerate", reason)


def _quality(record: Record, before: Baseline, repository: Repository) -> Verdict | None:
    alpha, verdicts = FALSE_ALARMS / repository.comparisons, []
    for name, metric in METRICS.items():
        if name not in before.quality or name not in record.quality:
            continue
        figure, now, change = before.quality[name], record.quality[name], difference(metric, before, record)
        worse_by = metric.worse_by(change.value)
        line = f"{name} {figure.value:.4g} → {now.value:.4g}"
        line += f" ({change.value:+.4g} ± {change.se:.2g}, tolerance ±{figure.tolerance:g}, n {now.n}"
        if abs(worse_by) > figure.tolerance:
            kind = decide(worse_by, change.se, figure.noise, figure.tolerance, alpha, change.n)
            line += f", p {p_value(worse_by, change.se, figure.noise, change.n):.1g})"
            line += {
                REGRESSION: "",
                IMPROVED: f"; an unexpected gain often comes from a changed protocol; else store it with "
                f"{repository.command(record.case.id)}",
                UNDERPOWERED: ": pictures have changed, and these captions cannot show whether for better or worse; "
                "use more --captions",
            }[kind]
            verdicts.append(Verdict(kind, "quality", line))
        elif metric.pairing == "caption" and not metric.steps and shaky(change.se, figure.noise, figure.tolerance):
            # Skip metrics that move in whole pictures: continuous ones notice changed pictures first.
            line += "): single pictures have changed, but not their mean; these captions could hide a change as large "
            line += "as the tolerance; use more --captions"
            verdicts.append(Verdict(UNDERPOWERED, "quality", line, moved=False))
    # Metrics that have moved come before metrics that may have.
    verdicts.sort(key=lambda verdict: (not verdict.moved, _GRAVITY.index(verdict.kind)))
    return verdicts[0] if verdicts else None


def _memory(record: Record, before: Entry) -> tuple[Verdict | None, str]:
    for component, counts in before.components.items():
        now = record.components[component]
        for what, ours, theirs in (
            ("dense", now.dense_bytes, counts.dense_bytes),
            ("stored", now.stored_bytes, counts.stored_bytes),
        ):
            if ours != theirs:
                reason = f"the parameters of {component} take {ours:,} bytes {what}, the baseline {theirs:,}"
                return Verdict(REGRESSION if ours > theirs else IMPROVED, "memory", reason), ""
    megabytes, batch = record.cost.tensor_megabytes, record.conditions.batch_size
    if megabytes is None:
        return None, f"memory was not compared: {record.cost.note or 'not measured'}"
    stack = record.conditions.stack
    if before.memory is None or before.stack != stack.key or before.memory.batch_size != batch:
        return None, f"memory was not compared: no baseline of {_words(stack)}, batch_size {batch}"
    return _tensors(megabytes, before.memory), ""


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
