"""Compare a record with its baseline: exact facts first, then degenerate pictures, then quality in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.record import Record
from harness.verdict.baselines import UPDATE, Baselines
from harness.verdict.statistics import IMPROVED, PASS, REGRESSION

# A mask is stored as a SHA-256, or for calibrated methods as a longer sketch of which this share may differ.
DIGEST_DIGITS = 64
MASK_TOLERANCE = 0.01
NOT_COMPARED, NO_BASELINE = "NOT COMPARED", "NO BASELINE"


@dataclass(frozen=True)
class Verdict:
    """kind: one of the five words above. gate: which one decided. reason: one line, empty for PASS."""

    kind: str
    gate: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Return whether the case is green."""
        return self.kind == PASS


def judge(record: Record, baselines: Baselines) -> Verdict:
    """Return the verdict on one record; the first gate that objects names it."""
    impossible = _request(record)
    if impossible:
        return Verdict(REGRESSION, "exact", impossible)
    by_workload = baselines.cases.get(record.case)
    if not by_workload:
        return Verdict(NO_BASELINE, "baseline", f"{baselines.path.name} has no such case; store it with {UPDATE}")
    stored = by_workload.get(record.workload)
    if stored is None:
        known = ", ".join(sorted(by_workload))
        return Verdict(
            NOT_COMPARED,
            "baseline",
            f"this workload is {record.workload}, the stored ones are {known}: model, captions, judges or protocol "
            f"differ; measure it anew with {UPDATE}",
        )
    for gate in (_exact, _degenerate, _quality):
        verdict = gate(record, stored)
        if verdict:
            return verdict
    return Verdict(PASS, "all")


def lacking(record: Record, baselines: Baselines) -> Verdict | None:
    """Return NO BASELINE where the stored entry lacks a metric that is measured now; None where it has them all."""
    stored = baselines.cases.get(record.case, {}).get(record.workload, {"quality": record.quality})
    names = sorted(record.quality.keys() - stored["quality"].keys())
    if not names:
        return None
    return Verdict(NO_BASELINE, "baseline", f"its baseline has no {' and no '.join(names)}; store it with {UPDATE}")


def _request(record: Record) -> str:
    for component, sparsity in record.requested.items():
        counts = record.exact["components"][component]
        # Every group rounds to whole weights, and trained weights that are exactly zero count as pruned.
        if abs(counts["sparsity_targeted"] - sparsity) > 1e-3 + record.exact["rounding"][component]:
            return f"{component} was to be pruned to {sparsity:.2%}, achieved {counts['sparsity_targeted']:.2%}"
    return ""


def _exact(record: Record, stored: dict[str, Any]) -> Verdict | None:
    for component, counts in stored["exact"]["components"].items():
        found = record.exact["components"].get(component)
        for name in ("parameters", "targeted", "zeros"):
            if found is None or found[name] != counts[name]:
                value = None if found is None else found[name]
                return Verdict(REGRESSION, "exact", f"{component} has {name} {value}, the baseline {counts[name]}")
    now, before = record.exact["keep"], stored["exact"]["keep"]
    if now == before:
        return None
    differ, of = different_bits(now, before)
    if len(now) == DIGEST_DIGITS or differ > MASK_TOLERANCE * of:
        return Verdict(
            REGRESSION,
            "exact",
            "as many weights are pruned as before, but other ones: the keep masks differ"
            + (f" at {differ} of {of} sampled places" if len(now) != DIGEST_DIGITS else ""),
        )
    return None


def different_bits(first: str, second: str) -> tuple[int, int]:
    """Return in how many of how many bits two hexadecimal texts differ; all of them where the lengths differ."""
    of = 4 * max(len(first), len(second))
    return ((int(first, 16) ^ int(second, 16)).bit_count() if len(first) == len(second) else of), of


def _degenerate(record: Record, stored: dict[str, Any]) -> Verdict | None:
    allowed = max(1, round(0.02 * record.quality["clip"].n))
    change = record.degenerate - stored["degenerate"]
    if abs(change) <= allowed:
        return None
    kind = REGRESSION if change > 0 else IMPROVED
    return Verdict(
        kind, "degenerate", f"{record.degenerate} pictures are degenerate, the baseline has {stored['degenerate']}"
    )


def _quality(record: Record, stored: dict[str, Any]) -> Verdict | None:
    worst: Verdict | None = None
    for name, before in stored["quality"].items():
        now = record.quality[name]
        change = now.value - before["value"]
        if abs(change) <= before["tolerance"]:
            continue
        worse = (change > 0) == (before["direction"] == "lower")
        moved = f"{name} {before['value']:.4g} → {now.value:.4g}"
        line = f"{moved} ({change:+.4g}, tolerance ±{before['tolerance']:g}, n {now.n})"
        if worse:
            return Verdict(REGRESSION, "quality", line)
        worst = worst or Verdict(
            IMPROVED, "quality", f"{line}; an unexpected gain is usually a changed protocol, else store it: {UPDATE}"
        )
    return worst
