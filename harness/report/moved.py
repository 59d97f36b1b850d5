"""Old and new figures of cases, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.change import SAME, Change
from harness.measurement import decimals
from harness.metrics import METRICS
from harness.results import Result

# What a certainty above this is shown as.
_MOST = 0.999


def figures(changes: Sequence[Change]) -> str:
    """Return old → new of every metric, on one line; "" without any."""
    return ", ".join(f"{METRICS[change.metric].label} {_figures(change)} ({_by(change)})" for change in changes)


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield a row per case and metric: old, new, change, better or worse, and how certain that is."""
    rows = [["case", "metric", "baseline → now", "change", "", "certainty"]]
    for result in results:
        for i, change in enumerate(result.changes):
            name = "" if i else f"{result.record.case.id}  {result.verdict}"
            sure = "" if change.word == SAME else _certainty(change.certainty)
            rows.append([name, METRICS[change.metric].label, _figures(change), _by(change), change.word, sure])
    if len(rows) == 1:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield "better and worse: with a certainty of 95 % or more, for each metric by itself; ± one standard error."


def _digits(change: Change) -> int:
    return METRICS[change.metric].decimals + 1 if change.se == 0 else decimals([(0.0, change.se)], 2)


def _figures(change: Change) -> str:
    digits = _digits(change)
    return f"{change.before:.{digits}f} → {change.now:.{digits}f}"


def _by(change: Change) -> str:
    digits = _digits(change)
    return f"{change.now - change.before:+.{digits}f} ± {change.se:.{digits}f}"


def _certainty(certainty: float) -> str:
    return f"> {_MOST:.1%}" if certainty > _MOST else f"{certainty:.1%}"
