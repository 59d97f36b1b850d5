"""Compare a record with its baseline, gate by gate: exact, degenerate, quality, memory; and latencies with theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.case import Case
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.baselines import UPDATE, Baselines, key_of, profile, profile_of
from harness.verdict.statistics import (
    ALPHA,
    IMPROVED,
    PASS,
    REGRESSION,
    UNDERPOWERED,
    decide,
    difference,
    p_value,
    shaky,
)

# A mask is stored as a SHA-256, or for calibrated methods as a longer sketch of which this share may differ.
DIGEST_DIGITS = 64
MASK_TOLERANCE = 0.01
NOT_COMPARED, NO_BASELINE = "NOT COMPARED", "NO BASELINE"
# How much less sure an improvement or a change of unknown direction is than a regression: what is reported first.
_GRAVITY = (REGRESSION, UNDERPOWERED, IMPROVED)


@dataclass(frozen=True)
class Verdict:
    """kind: one of the six words. gate: which one decided. reason: one line, empty for PASS.

    moved: a figure left its tolerance. note: what was not compared, and why.
    """

    kind: str
    gate: str
    reason: str = ""
    moved: bool = True
    note: str = ""

    @property
    def passed(self) -> bool:
        """Return whether nothing is to be said against the case."""
        return self.kind == PASS

    def red(self, ci: bool, gains_pass: bool) -> bool:
        """Return whether the case fails.

        UNDERPOWERED fails in CI, and elsewhere too where a figure has left its tolerance: captions and starting noise
        are those of the baseline, so code that has not changed cannot do that. gains_pass: IMPROVED does not fail.
        """
        if self.kind == UNDERPOWERED:
            return ci or self.moved
        return not self.passed and not (gains_pass and self.kind == IMPROVED)


def in_ci() -> bool:
    """Return whether the environment says so: `CI` is set to something else than nothing, 0 or false."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def judge(record: Record, baselines: Baselines) -> Verdict:
    """Return the verdict on one record; the first gate that objects names it."""
    impossible = _as_asked(record.requested, record.exact)
    if impossible:
        return impossible
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
    names = sorted(record.quality.keys() - stored["quality"].keys())
    if names:
        missing = f"its baseline has no {' and no '.join(names)}; store it with {UPDATE}"
        return Verdict(NO_BASELINE, "baseline", missing)
    before = baselines.record(record.case, record.workload)
    assert before is not None
    verdict = facts(record, before) or _quality(record, before, stored["quality"])
    memory, note = _memory(record, stored["memory"])
    return verdict or memory or Verdict(PASS, "all", moved=False, note=note)


def facts(record: Record, before: Record) -> Verdict | None:
    """Return the verdict of the gates in front of the quality, or None: nothing differs."""
    return exact(record.requested, record.exact, before.exact) or _degenerate(record, before)


def exact(requested: Mapping[str, float], now: Mapping[str, Any], before: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict on what is known without a picture, counts of zeros and keep masks; None: nothing differs.

    requested: component → sparsity. now, before: as `Record.exact`.
    """
    impossible = _as_asked(requested, now)
    if impossible:
        return impossible
    for component, counts in before["components"].items():
        found = now["components"].get(component)
        for name in ("parameters", "targeted", "zeros"):
            if found is None or found[name] != counts[name]:
                value = None if found is None else found[name]
                return Verdict(REGRESSION, "exact", f"{component} has {name} {value}, the baseline {counts[name]}")
    if now["keep"] == before["keep"]:
        return None
    differ, of = different_bits(now["keep"], before["keep"])
    if len(now["keep"]) == DIGEST_DIGITS or differ > MASK_TOLERANCE * of:
        return Verdict(
            REGRESSION,
            "exact",
            "as many weights are pruned as before, but other ones: the keep masks differ"
            + (f" at {differ} of {of} sampled places" if len(now["keep"]) != DIGEST_DIGITS else ""),
        )
    return None


def _as_asked(requested: Mapping[str, float], now: Mapping[str, Any]) -> Verdict | None:
    for component, sparsity in requested.items():
        achieved = now["components"][component]["sparsity_targeted"]
        # Every group rounds to whole weights, and trained weights that are exactly zero count as pruned.
        if abs(achieved - sparsity) > 1e-3 + now["rounding"][component]:
            reason = f"{component} was to be pruned to {sparsity:.2%}, achieved {achieved:.2%}"
            return Verdict(REGRESSION, "exact", reason)
    return None


def different_bits(first: str, second: str) -> tuple[int, int]:
    """Return in how many of how many bits two hexadecimal texts differ; all of them where the lengths differ."""
    of = 4 * max(len(first), len(second))
    return ((int(first, 16) ^ int(second, 16)).bit_count() if len(first) == len(second) else of), of


def _degenerate(record: Record, before: Record) -> Verdict | None:
    allowed = max(1, round(0.02 * record.quality["clip"].n))
    change = record.degenerate - before.degenerate
    if abs(change) <= allowed:
        return None
    kind = REGRESSION if change > 0 else IMPROVED
    return Verdict(
        kind, "degenerate", f"{record.degenerate} pictures are degenerate, the baseline has {before.degenerate}"
    )


def _quality(record: Record, before: Record, stored: Mapping[str, Any]) -> Verdict | None:
    found = []
    for name, figure in stored.items():
        change = difference(name, before, record)
        worse_by = change.value if figure["direction"] == "lower" else -change.value
        noise, tolerance = figure["sigma_aa"], figure["tolerance"]
        line = f"{name} {figure['value']:.4g} → {record.quality[name].value:.4g}"
        line += f" ({change.value:+.4g} ± {change.se:.2g}, tolerance ±{tolerance:g}, n {record.quality[name].n}"
        if abs(worse_by) > tolerance:
            kind = decide(worse_by, change.se, noise, tolerance, ALPHA, change.n)
            line += f", p {p_value(worse_by, change.se, noise, change.n):.1g})"
            line += {
                REGRESSION: "",
                IMPROVED: "; an unexpected gain is usually a changed protocol, else store it: " + UPDATE,
                UNDERPOWERED: ": the pictures have changed, and these captions cannot tell whether for better or worse",
            }[kind]
            found.append(Verdict(kind, "quality", line))
        elif name in record.per_caption and name != "composition" and shaky(change.se, noise, tolerance):
            # Composition moves in steps of a picture: whether pictures have changed the continuous scores see first.
            reason = f"{line}): pictures have changed although their mean has not; a change as large as the tolerance"
            found.append(Verdict(UNDERPOWERED, "quality", f"{reason} could hide in that", moved=False))
    # What has moved comes before what might have.
    found.sort(key=lambda verdict: (not verdict.moved, _GRAVITY.index(verdict.kind)))
    return found[0] if found else None


def _memory(record: Record, stored: Mapping[str, Any]) -> tuple[Verdict | None, str]:
    for component, before in stored["parameter_bytes"].items():
        now = record.parameter_bytes[component]
        for kind in ("dense", "stored"):
            if now[kind] != before[kind]:
                change = f"the parameters of {component} take {now[kind]:,} bytes {kind}, the baseline {before[kind]:,}"
                return Verdict(REGRESSION if now[kind] > before[kind] else IMPROVED, "memory", change), ""
    peak = stored["tensor_megabytes"].get(key_of(profile(record)))
    if peak is None or record.tensor_megabytes is None:
        return None, f"memory was not compared: no baseline of {_words(profile(record))}"
    change = record.tensor_megabytes - peak["value"]
    if abs(change) <= peak["tolerance"]:
        return None, ""
    line = f"generation needs {record.tensor_megabytes:.1f} MB of tensors at once, the baseline {peak['value']:.1f}"
    line += f" ({change:+.1f}, tolerance ±{peak['tolerance']:.1f})"
    return Verdict(REGRESSION if change > 0 else IMPROVED, "memory", line), ""


def judge_latency(case: Case, ratio: Measurement, conditions: Mapping[str, Any], baselines: Baselines) -> Verdict:
    """Return the verdict on a ratio of latencies, pruned to dense; times themselves are never compared."""
    stored = baselines.latency.get(case.id)
    if not stored:
        return Verdict(
            NO_BASELINE, "latency", f"{baselines.path.name} has no latency of {case.id}; store it with {UPDATE}"
        )
    now = profile_of(conditions)
    before = stored.get(key_of(now))
    if before is None:
        return Verdict(PASS, "all", moved=False, note=f"latency was not compared: no baseline of {_words(now)}")
    slower_by, se = ratio.value - before["value"], (ratio.se**2 + before["se"] ** 2) ** 0.5
    kind = decide(slower_by, se, before["sigma_aa"], before["tolerance"], ALPHA, ratio.n)
    p = p_value(slower_by, se, before["sigma_aa"], ratio.n)
    line = f"pruned / dense {before['value']:.3f} → {ratio.value:.3f} ({slower_by:+.3f} ± {se:.3f}, "
    line += f"tolerance ±{before['tolerance']:g}, {ratio.n} rounds, p {p:.1g})"
    return Verdict(kind, "latency", "" if kind == PASS else line, moved=kind in (REGRESSION, IMPROVED))


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
