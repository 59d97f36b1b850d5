"""The gate of quality: figures compared with the stored ones, or on another stack by the effect of pruning."""

from __future__ import annotations

from harness.metrics import METRICS
from harness.record import Record
from harness.verdict.baseline import Baseline
from harness.verdict.effect import Anchor, Rules, effect, enough, tolerance
from harness.verdict.repository import Repository
from harness.verdict.statistics import (
    FALSE_ALARMS,
    IMPROVED,
    PASS,
    REGRESSION,
    UNDERPOWERED,
    decide,
    difference,
    p_value,
    shaky,
)
from harness.verdict.verdict import Verdict

# The order in which verdicts are reported: the gravest first.
_GRAVITY = (REGRESSION, UNDERPOWERED, IMPROVED)


def quality(record: Record, before: Baseline, repository: Repository) -> Verdict | None:
    """Return the verdict on the figures, compared with the stored ones; None where nothing objects."""
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


def by_effect(
    record: Record, before: Baseline, repository: Repository, against: Anchor, rules: Rules
) -> tuple[Verdict | None, str]:
    """Return the verdict on the effect of pruning, on another stack, and what these captions cannot decide.

    The dense model is judged by its own change. A metric that needs more captions makes the case UNDERPOWERED where it
    has left its tolerance, or where it is the score that the anchor rests on. Distances between distributions need many
    more captions than that score: they are named, and do not speak for the case.
    """
    alpha, verdicts, undecided = FALSE_ALARMS / repository.comparisons, [], []
    for name, metric in METRICS.items():
        if name not in before.quality or name not in record.quality:
            continue
        then, change = effect(metric, before, record, against)
        allowed = tolerance(metric, then, rules)
        if allowed is None:
            continue
        noise, worse_by = before.quality[name].noise, metric.worse_by(change.value)
        kind = decide(worse_by, change.se, noise, allowed, alpha, change.n)
        if kind == PASS:
            continue
        moved = abs(worse_by) > allowed
        if kind == UNDERPOWERED and not moved and name != against.score:
            undecided.append(name)
            continue
        line = f"the effect of pruning on {name}, {then:+.4g}, has moved by {change.value:+.4g} ± {change.se:.2g} "
        line += f"(tolerance ±{allowed:.3g}, n {change.n}"
        line += f", p {p_value(worse_by, change.se, noise, change.n):.1g})"
        if kind == UNDERPOWERED:
            line += f"; about {enough(change, noise, allowed, alpha):,} captions would decide"
        verdicts.append(Verdict(kind, "effect", line, moved=moved))
    verdicts.sort(key=lambda verdict: (verdict.kind == UNDERPOWERED, not verdict.moved, _GRAVITY.index(verdict.kind)))
    note = f"these captions are too few for the effect on {', '.join(undecided)}" if undecided else ""
    return verdicts[0] if verdicts else None, note
