"""One line per case and closing tables: plain text without terminal control."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.measurement import decimals
from harness.metrics import METRICS
from harness.report.groups import (
    HOLDS,
    VERDICTS,
    Column,
    captions_in,
    columns,
    few,
    groups,
    held_to,
    holds,
    level,
    meaning_of_holds,
    seconds,
)

if TYPE_CHECKING:
    from harness.measurement import Measurement
    from harness.metrics.metric import Metric
    from harness.record import Record
    from harness.results import LatencyResult, Result, Results

_ID = 46
_LEVEL = 13
# The width of texts in columns.
_WIDE = 120


def figure(m: Measurement, least: int) -> str:
    """Return "value ± standard error" with two digits of the latter. least: the fewest decimals."""
    digits = decimals([(m.value, m.se)], least)
    # Adding nothing makes a rounded -0 a 0.
    return f"{round(m.value, digits) + 0.0:.{digits}f} ± {m.se:.{digits}f}"


def case_line(result: Result) -> str:
    """Return the line that is printed when a case has ended: id, headline metrics, seconds, holds, verdict."""
    record = result.record
    shown = [_headline(m, record) for m in METRICS.values() if m.headline and m.name in record.quality]
    took = seconds(record)
    took = f"{took:>4} s" if took[0].isdigit() else f"{took:>6}"
    blank = [f"{record.degenerate} degenerate"] if record.degenerate else []
    held = [f"{HOLDS} {holds(result):<7}"] if result.holding is not None else []
    return f"{record.case.id:<{_ID}} {'  '.join([*shown, took, *blank, *held, result.verdict])}"


def _headline(metric: Metric, record: Record) -> str:
    # A share has one digit before the point; other metrics have up to three.
    width = metric.decimals + (2 if metric.steps else 4)
    figure = record.quality[metric.name]
    return f"{metric.label} {figure.value:{width}.{metric.digits([figure])}f}"


def candidate_line(record: Record) -> str:
    """Return the line that says what a candidate consists of, and how much of it is not the target's."""
    parts = [
        f"{name} {counts.parameters:,} parameters ({counts.sparsity_component:.1%} zeros, "
        f"{counts.dense_bytes / 1e6:.1f} MB), {record.changed[name]} layers changed"
        for name, counts in record.components.items()
    ]
    return f"  {record.case.candidate}: {'; '.join(parts)}"


def latency_line(result: LatencyResult) -> str:
    """Return the line that is printed when a ratio of latencies has been measured."""
    ratio = result.ratio
    return f"{result.case.id:<{_ID}} latency {figure(ratio, 3)} of dense, {ratio.n} rounds  {result.verdict}"


def tables(results: Results) -> list[str]:
    """Return the closing tables and the meaning of their columns, line by line.

    Args:
        results: The results of a run.

    Returns:
        One table per target, component, method and choice of layers, the dense model on top of each; nothing where only
        dense models were measured.
    """
    lines: list[str] = []
    shown = [group for group in groups(results) if not group.case.is_dense]
    for group in shown:
        own = group.columns
        answers = [holds(result) for result in group.results]
        asked = any(answers)
        rows = [["sparsity", *(column.name for column in own), *([HOLDS] if asked else []), "verdict"]]
        if group.dense is not None:
            rows.append(_cells(group.dense, own, [""] * asked, ""))
        rows += [
            _cells(result.record, own, [answer] * asked, result.verdict)
            for result, answer in zip(group.results, answers, strict=True)
        ]
        marked = " (for change only: see below)" if few(group.records) else ""
        lines += ["", f"{group.title}, n = {captions_in(group.records)}{marked}", *_aligned(rows)]
        upto = held_to(group, results)
        lines += [f"{'':>{_LEVEL}}  {upto}"] if upto else []
    if shown:
        warning = few(record for group in shown for record in group.records)
        lines += ["", *legend(columns(shown))]
        if any(result.holding is not None for group in shown for result in group.results):
            lines += textwrap.wrap(f"{HOLDS}: {meaning_of_holds(results.budget)}.", _WIDE)
        lines += [f"{VERDICTS}.", *([f"{warning}."] if warning else [])]
    return lines


def introduction(metrics: Sequence[Metric]) -> list[str]:
    """Return the explanation of the lines of finished cases, for the start of a run.

    Args:
        metrics: The metrics of the lines.
    """
    shown = [f"{m.label} ({m.short or m.summary.removesuffix('.')})" for m in metrics]
    shown += ["s (seconds of generating)", f"{HOLDS} (is quality still the dense model's)"]
    text = f"A line per case: {', '.join(shown)}, and the verdict. {VERDICTS}."
    return textwrap.wrap(text, _WIDE)


def _cells(record: Record, own: Sequence[Column], held: Sequence[str], verdict: str) -> list[str]:
    return [level(record), *(column.write(record) for column in own), *held, verdict]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: all columns are aligned on the right, the last one on the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    widths[0] = max(widths[0], _LEVEL)
    return [
        "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
        for row in rows
    ]


def legend(shown: Sequence[Column]) -> list[str]:
    """Return the meaning of columns, two on a line where they fit."""
    names = [f"{column.name} {column.better}".rstrip() for column in shown]
    wide = max(map(len, names))
    entries = [f"{name:>{wide}}  {column.meaning}" for name, column in zip(names, shown, strict=True)]
    half = _WIDE // 2
    lines: list[str] = []
    for entry in entries:
        pairs = lines and len(lines[-1]) < half and len(entry) < half
        if pairs:
            lines[-1] = f"{lines[-1]:<{half}}{entry}"
        else:
            lines.append(entry)
    return [*lines, "↓ lower is better, ↑ higher is better, ± one standard error."]
