"""`python -m harness compare MAIN.json BRANCH.json`: two runs, case by case, paired by caption."""

from __future__ import annotations

from dataclasses import dataclass

from harness.record import Record
from harness.verdict.judge import DIGEST_DIGITS, NOT_COMPARED, different_bits, facts, in_ci
from harness.verdict.statistics import (
    FALSE_ALARMS,
    IMPROVED,
    PASS,
    REGRESSION,
    UNDERPOWERED,
    Difference,
    decide,
    difference,
)
from harness.verdict.tolerances import LOWER_IS_BETTER, TOLERANCES, noise, tolerance

MISSING, NEW = "MISSING", "NEW"
NAMES = {
    "fid": "FID",
    "fid_dense": "FID to dense",
    "kid": "KID",
    "clip": "CLIP score",
    "composition": "composition",
    "drift": "drift",
}


@dataclass(frozen=True)
class Row:
    """One case in both runs. masks: how the keep masks differ. verdict: the worst of its metrics."""

    case: str
    verdict: str
    masks: str = ""
    differences: tuple[tuple[str, Difference], ...] = ()
    decided_by: str = ""


def compare(before: list[Record], after: list[Record]) -> list[Row]:
    """Return one row per case of either run. Raises HarnessError where a case has no paired values."""
    old, new = {r.case: r for r in before}, {r.case: r for r in after}
    both = [case for case in old if case in new and old[case].workload == new[case].workload]
    alpha = FALSE_ALARMS / max(1, 2 * sum(len(old[case].quality) for case in both))
    rows = []
    for case in sorted({*old, *new}):
        if case not in new:
            rows.append(Row(case, MISSING))
        elif case not in old:
            rows.append(Row(case, NEW))
        elif old[case].workload != new[case].workload:
            rows.append(Row(case, NOT_COMPARED, "another model, captions, judges or protocol"))
        else:
            rows.append(_row(old[case], new[case], alpha))
    return rows


def _row(old: Record, new: Record, alpha: float) -> Row:
    found, verdicts = [], {}
    for name in (name for name in TOLERANCES if name in old.quality or name in new.quality):
        change = difference(name, old, new)
        found.append((name, change))
        worse_by = change.value if name in LOWER_IS_BETTER else -change.value
        verdicts[name] = decide(worse_by, change.se, noise(name, old), tolerance(name, old), alpha, change.n)
    differ, of = different_bits(old.exact["keep"], new.exact["keep"])
    # A digest says whether they differ, a sketch by how much.
    masks = (
        "same" if not differ else "differ" if len(new.exact["keep"]) == DIGEST_DIGITS else f"{differ / of:.2%} differ"
    )
    # What a gate sees without looking at pictures comes first here too.
    first = facts(new, old)
    if first:
        return Row(new.case, first.kind, masks, tuple(found), first.gate)
    for verdict in (REGRESSION, UNDERPOWERED, IMPROVED):
        names = [NAMES[name] for name, v in verdicts.items() if v == verdict]
        if names:
            return Row(new.case, verdict, masks, tuple(found), ", ".join(names))
    return Row(new.case, PASS, masks, tuple(found))


def failed(rows: list[Row]) -> bool:
    """Return whether a pipeline that runs the comparison should stop: in CI also where nobody can know."""
    bad = {REGRESSION, MISSING, NOT_COMPARED} | ({UNDERPOWERED} if in_ci() else set())
    return any(row.verdict in bad for row in rows)


def lines(rows: list[Row], markdown: bool) -> list[str]:
    """Return the table: cases that moved first; those that did not are counted, not listed, in Markdown."""
    order = (REGRESSION, MISSING, NOT_COMPARED, UNDERPOWERED, IMPROVED, NEW, PASS)
    shown = sorted(rows, key=lambda row: (order.index(row.verdict), row.case))
    quiet = [row for row in shown if row.verdict == PASS and row.masks == "same"]
    if markdown:
        shown = [row for row in shown if row not in quiet]
    # Only pipelines of the user's have a KID.
    kid = any("kid" in dict(row.differences) for row in rows)
    metrics = [name for name in TOLERANCES if kid or name != "kid"]
    head = ["case", *(f"Δ {NAMES[name]}" for name in metrics), "masks", "verdict"]
    table = [head]
    for row in shown:
        moved = {name: f"{d.value:+.3f} ± {d.se:.3f}" for name, d in row.differences}
        verdict = row.verdict + (f" ({row.decided_by})" if row.decided_by else "")
        table.append([row.case, *(moved.get(name, "") for name in metrics), row.masks, verdict])
    counts = ", ".join(f"{sum(r.verdict == v for r in rows)} {v}" for v in order if any(r.verdict == v for r in rows))
    closing = f"{len(rows)} cases: {counts}; ± one standard error of the paired difference"
    if markdown:
        body = [f"| {' | '.join(cells)} |" for cells in table] if shown else []
        body[1:1] = ["|" + "---|" * len(head)] if shown else []
        return [*body, "", closing + (f"; {len(quiet)} that did not move are left out" if quiet else "")]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
    return [*text, "", closing]
