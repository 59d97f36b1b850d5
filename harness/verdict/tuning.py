"""What a change of a method does to the figures: better or worse than the baseline, and how certain that is.

The verdict ends at the first gate that objects. This looks at every figure, whatever the gates say.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.change import BETTER, SAME, UNCLEAR, WORSE, Change
from harness.metrics import METRICS
from harness.record import Record
from harness.verdict.baseline import Baseline
from harness.verdict.statistics import difference, p_value
from harness.verdict.verdict import NO_BASELINE, NOT_COMPARED, Verdict

CERTAIN = 0.95
ALLOWED = "--compare-only: nothing is red, although {}"


def changes(record: Record, before: Baseline) -> tuple[Change, ...]:
    """Return the change of every metric that the record and its baseline have, in the order of `METRICS`.

    Raises:
        HarnessError: The two have different numbers of pictures or of paired values.
    """
    moved = []
    for name, metric in METRICS.items():
        if name not in record.quality or name not in before.quality:
            continue
        figure, change = before.quality[name], difference(metric, before, record)
        certainty = 1 - p_value(change.value, change.se, figure.noise, change.n)
        # Rounding moves figures by less than tables show, and always in the same direction.
        if abs(change.value) < max(figure.noise, 0.5 * 10**-metric.decimals):
            word, certainty = SAME, 0.5
        elif certainty >= CERTAIN:
            word = WORSE if metric.worse_by(change.value) > 0 else BETTER
        else:
            word = UNCLEAR
        moved.append(Change(name, figure.value, record.quality[name].value, change.se, certainty, word))
    return tuple(moved)


def freed(verdict: Verdict, moved: Sequence[Change]) -> Verdict:
    """Return the verdict of `--compare-only`: what the figures say, whatever the gates say.

    Args:
        verdict: The verdict of the gates.
        moved: The changes of the case.

    Returns:
        `kind` is "BETTER", "WORSE", "MIXED" (both), "UNCLEAR" or "SAME". Without a baseline the verdict stays.
    """
    if verdict.kind in (NO_BASELINE, NOT_COMPARED) or not moved:
        return verdict
    words = {change.word for change in moved}
    if {BETTER, WORSE} <= words:
        kind = "MIXED"
    else:
        kind = next(word for word in (BETTER, WORSE, UNCLEAR, SAME) if word in words).upper()
    objects = "" if verdict.passed else ALLOWED.format(f"the gate {verdict.gate} says {verdict.kind}")
    return Verdict(kind, "", note="; ".join(filter(None, (verdict.note, objects))), by_effect=verdict.by_effect)
