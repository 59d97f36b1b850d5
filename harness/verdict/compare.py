"""`prunegate compare MAIN.json BRANCH.json`: two runs, case by case, paired by caption."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from harness.case import Case
from harness.errors import HarnessError
from harness.measurement import Measurement, decimals
from harness.metrics import METRICS, learn
from harness.record import Record
from harness.results import Results
from harness.verdict.baseline import LATENCY_TOLERANCE, MEMORY_TOLERANCE
from harness.verdict.exact import facts
from harness.verdict.judge import in_ci
from harness.verdict.stages import first_difference, named
from harness.verdict.statistics import (
    DIGEST_DIGITS,
    FALSE_ALARMS,
    IMPROVED,
    PASS,
    REGRESSION,
    UNDERPOWERED,
    Difference,
    decide,
    difference,
    different_bits,
)
from harness.verdict.verdict import NOT_COMPARED

MISSING, NEW, TIMED = "MISSING", "NEW", "TIMED"
_ORDER = (REGRESSION, MISSING, NOT_COMPARED, UNDERPOWERED, IMPROVED, NEW, PASS, TIMED)


@dataclass(frozen=True)
class Row:
    """One case in both runs."""

    case: str
    """The id of the case."""
    verdict: str
    """The verdict: of the worst metric, of an earlier gate, or `MISSING`, `NEW` or `TIMED` (its latency alone)."""
    masks: str = ""
    """"same", "differ", or the share of keep masks that differ."""
    differences: tuple[tuple[str, Difference], ...] = ()
    """Metric and its change, for the metrics that both runs have."""
    decided_by: str = ""
    """The gate or the metrics that decided the verdict."""
    degenerate: tuple[int, int] = (0, 0)
    """How many pictures show nothing, in the first run and in the second."""
    remark: str = ""
    """Metrics that only one run has, with their values. They are not compared."""
    holds: tuple[str, str] = ("", "")
    """Whether quality holds against the dense model of its run, in the first run and in the second; "": nobody asked.
    No part of the verdict."""
    megabytes: tuple[float | None, float | None] = (None, None)
    """Peak of tensors while generating, in MB, in both runs. No part of the verdict."""
    latency: tuple[Measurement | None, Measurement | None] = (None, None)
    """Latency, pruned / dense, in both runs. No part of the verdict."""

    @property
    def quiet(self) -> bool:
        """Return whether nothing worth a line has changed."""
        before, after = self.megabytes
        larger = before and after and abs(after - before) > MEMORY_TOLERANCE * before
        first, second = self.latency
        slower = first and second and abs(second.value - first.value) > LATENCY_TOLERANCE
        same = self.verdict == TIMED or (self.verdict == PASS and self.masks == "same" and not self.remark)
        return same and not larger and not slower and self.holds[0] == self.holds[1]


def compare(before: Results, after: Results) -> list[Row]:
    """Compare two runs.

    Args:
        before: The earlier run, such as that of the main branch.
        after: The later run.

    Returns:
        One row per case of either run, in the order of ids.

    Raises:
        HarnessError: A case has no paired values, or a metric that this process does not know.
    """
    old, new = _by_case(before), _by_case(after)
    both = [case for case in old if case in new and old[case].workload == new[case].workload]
    shared = sum(len(old[case].quality.keys() & new[case].quality.keys()) for case in both)
    alpha = FALSE_ALARMS / max(1, 2 * shared)
    rows = []
    for case in sorted({*old, *new}, key=lambda case: case.id):
        if case not in new:
            rows.append(Row(case.id, MISSING))
        elif case not in old:
            rows.append(Row(case.id, NEW))
        elif old[case].workload != new[case].workload:
            rows.append(Row(case.id, NOT_COMPARED, "another model, captions, scorers or protocol"))
        else:
            rows.append(_row(old[case], new[case], alpha))
    answers = [{r.record.case.id: r.holding.answer for r in run.cases if r.holding} for run in (before, after)]
    timed = [{result.case.id: result.ratio for result in run.latencies} for run in (before, after)]
    known = {row.case for row in rows}
    rows += [Row(case, TIMED) for case in sorted({*timed[0], *timed[1]} - known)]
    return [
        replace(
            row,
            holds=(answers[0].get(row.case, ""), answers[1].get(row.case, "")),
            latency=(timed[0].get(row.case), timed[1].get(row.case)),
        )
        for row in rows
    ]


def _by_case(results: Results) -> dict[Case, Record]:
    records = {result.record.case: result.record for result in results.cases}
    names = {name for record in records.values() for name in record.quality}
    learn(sorted(names))
    odd = sorted(names - METRICS.keys())
    if odd:
        raise HarnessError(
            f"the metric {odd[0]} is unknown here; name the module that registers it: "
            "prunegate --plugin MODULE compare …"
        )
    return records


def _row(old: Record, new: Record, alpha: float) -> Row:
    differences, verdicts, remarks = [], {}, []
    for name, metric in METRICS.items():
        figure, now = old.quality.get(name), new.quality.get(name)
        if figure is None or now is None:
            one, run = (figure, "first") if figure is not None else (now, "second")
            if one is not None:
                remarks.append(f"{metric.label} {metric.text(one)} in the {run} run only")
            if now is None and figure is not None and metric.default:
                verdicts[name] = NOT_COMPARED
            continue
        change = difference(metric, old, new)
        differences.append((name, change))
        solved = old.case.moves_weights
        noise, tolerance = metric.expected_noise(figure, solved), metric.allowed(figure, solved)
        verdicts[name] = decide(metric.worse_by(change.value), change.se, noise, tolerance, alpha, change.n)
    differ, bits = different_bits(old.keep, new.keep)
    # Digests show whether masks differ; sketches show by how much.
    masks = "same" if not differ else "differ" if len(new.keep) == DIGEST_DIGITS else f"{differ / bits:.2%} differ"

    blank = old.degenerate, new.degenerate

    def row(verdict: str, decided_by: str = "") -> Row:
        needs = old.cost.tensor_megabytes, new.cost.tensor_megabytes
        remark = "; ".join(remarks)
        return Row(new.case.id, verdict, masks, tuple(differences), decided_by, blank, remark, megabytes=needs)

    # As in `judge`, gates that need no metric decide first.
    first = facts(new, old)
    if first:
        return row(first.kind, first.gate)
    # On another stack every stage moves.
    where = "" if old.stack.differences(new.stack) else first_difference(old, new)
    begins = f"; first differs: {named(where)}" if where else ""
    for verdict in (REGRESSION, NOT_COMPARED, UNDERPOWERED, IMPROVED):
        labels = [METRICS[name].label for name, v in verdicts.items() if v == verdict]
        if labels:
            return row(verdict, ", ".join(labels) + begins)
    return row(PASS)


def _change(change: Difference) -> str:
    digits = decimals([(change.value, change.se)], 3)
    return f"{change.value:+.{digits}f} ± {change.se:.{digits}f}"


def _pair(before: str, after: str) -> str:
    return after if before == after else f"{before or '-'} → {after or '-'}"


@dataclass(frozen=True)
class _Column:
    """A column with a value of each run, which has no part in the verdict."""

    name: str
    pair: Callable[[Row], tuple[Any, Any]]
    write: Callable[[Any], str]


_COSTS = (
    _Column("holds", lambda row: row.holds, str),
    _Column("MB", lambda row: row.megabytes, lambda needs: "" if needs is None else f"{needs:.1f}"),
    _Column("latency", lambda row: row.latency, lambda m: "" if m is None else f"{m.value:.2f} ± {m.se:.2f}"),
)


def failed(rows: Iterable[Row]) -> bool:
    """Return whether the comparison fails: by a regression or a case that cannot be compared; in CI by UNDERPOWERED."""
    bad = {REGRESSION, MISSING, NOT_COMPARED} | ({UNDERPOWERED} if in_ci() else set())
    return any(row.verdict in bad for row in rows)


def lines(rows: list[Row], markdown: bool) -> list[str]:
    """Return the table, cases that changed first. Markdown only counts the cases that did not change."""
    shown = sorted(rows, key=lambda row: (_ORDER.index(row.verdict), row.case))
    quiet = [row for row in shown if row.quiet]
    if markdown:
        shown = [row for row in shown if row not in quiet]
    compared = {name for row in rows for name, _ in row.differences}
    metrics = [name for name in METRICS if name in compared]
    remarks = ["remark"] if any(row.remark for row in shown) else []
    blank = ["degenerate"] if any(any(row.degenerate) for row in shown) else []
    costs = [column for column in _COSTS if any(any(column.pair(row)) for row in rows)]
    head = ["case", *(f"Δ {METRICS[name].label}" for name in metrics), *blank, *(c.name for c in costs)]
    head += ["masks", "verdict", *remarks]
    table = [head]
    for row in shown:
        moved = {name: _change(d) for name, d in row.differences}
        degenerate = [_pair(*map(str, row.degenerate))] if blank else []
        verdict = row.verdict + (f" ({row.decided_by})" if row.decided_by else "")
        cells = [row.case, *(moved.get(name, "") for name in metrics), *degenerate]
        cells += [*(_pair(*map(column.write, column.pair(row))) for column in costs), row.masks, verdict]
        table.append(cells + ([row.remark] if remarks else []))
    counts = ", ".join(f"{sum(r.verdict == v for r in rows)} {v}" for v in _ORDER if any(r.verdict == v for r in rows))
    closing = f"{len(rows)} cases: {counts}; ± one standard error of the paired difference"
    if markdown:
        body = [f"| {' | '.join(cells)} |" for cells in table] if shown else []
        body[1:1] = ["|" + "---|" * len(head)] if shown else []
        return [*body, "", closing + (f"; {len(quiet)} that did not move are left out" if quiet else "")]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
    return [*text, "", closing]
