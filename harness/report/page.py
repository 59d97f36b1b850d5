"""One HTML page of a run: what is red and why, curves, and every case's figures beside its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from harness.errors import HarnessError
from harness.record import Record
from harness.report.curves import draw
from harness.report.terminal import figure, zeros

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1560px; padding: 0 1em; color: #1a1a1a; }
h1 { margin-bottom: 0; } h2 { margin: 2em 0 0.4em; border-bottom: 1px solid #ccc; } p.about { color: #555; }
table { border-collapse: collapse; } th, td { padding: 2px 10px; text-align: right; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #888; } td.l, th.l { text-align: left; }
td.l.why { white-space: normal; max-width: 60em; }
img { display: block; height: 60px; } svg { max-width: 100%; } ol { columns: 2; color: #444; font-size: 13px; }
.green { color: #06693b; } .red { color: #b00020; font-weight: 600; } .grey { color: #555; }
"""
_COLUMNS = (
    ("fid", "FID", 2), ("kid", "KID", 2), ("clip", "CLIP score", 2), ("composition", "composition", 3),
    ("drift", "drift", 2), ("fid_dense", "FID to dense", 2),
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A judged case. verdict: its word and gate. reason: one line, "" where there is nothing to say."""

    record: Record
    verdict: str
    reason: str
    red: bool


def page(
    results: Sequence[Result],
    latencies: Sequence[Mapping[str, Any]],
    dense: Mapping[str, Record],
    captions: Mapping[str, Sequence[str]],
) -> str:
    """Return the page; pictures are those in `rows/` beside it.

    latencies: as the plugin keeps them: case, ratio, verdict, reason, red. dense, captions: by target.
    """
    conditions = (results[0].record.conditions if results else latencies[0]["conditions"]) or {}
    about = ", ".join(f"{name} {value}" for name, value in conditions.items())
    parts = [
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>PruneGate</title>',
        f'<style>{_STYLE}</style><h1>PruneGate</h1><p class="about">{escape(_counts(results, latencies))}<br>'
        f"{escape(about)}</p>",
    ]
    parts += _objections(results, latencies)
    parts += _curves(results, dense)
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        *group, _ = result.record.case.split("-")
        groups.setdefault(tuple(group), []).append(result)
    for (target, component, method, layers), rows in sorted(groups.items()):
        if method == "dense" and any(other[0] == target and other[2] != "dense" for other in groups):
            continue
        title = "the dense model" if method == "dense" else f"{component} pruned by {method}, {layers} layers"
        parts += _group(f"{target}: {title}", sorted(rows, key=_order), dense.get(target))
    for target, texts in captions.items():
        parts += [f"<h2>{escape(target)}: captions of the pictures, from the left</h2><ol>"]
        parts += [*(f"<li>{escape(text)}</li>" for text in texts), "</ol>"]
    if latencies:
        parts += _latencies(latencies)
    return "\n".join(parts) + "\n</html>\n"


def _order(result: Result) -> tuple[float, ...]:
    return tuple(result.record.requested.values())


def _counts(results: Sequence[Result], latencies: Sequence[Mapping[str, Any]]) -> str:
    red = sum(r.red for r in results) + sum(bool(facts["red"]) for facts in latencies)
    total = len(results) + len(latencies)
    n = sorted({r.record.quality["clip"].n for r in results})
    captions = f", n = {' and '.join(map(str, n))} captions, ± one standard error" if n else ""
    return f"{total} case{'s' if total > 1 else ''}, {red or 'none'} red{captions}"


def _verdict(words: str, red: bool) -> str:
    kind = "red" if red else "green" if words.startswith("PASS") else "grey"
    return f'<td class="l {kind}">{escape(words)}</td>'


def _objections(results: Sequence[Result], latencies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of what is not simply green, or nothing."""
    said = [(r.record.case, r.verdict, r.reason, r.red) for r in results if r.reason]
    said += [(f["case"], f"latency: {f['verdict']}", f["reason"], bool(f["red"])) for f in latencies if f["reason"]]
    if not said:
        return []
    rows = [
        f'<tr><td class="l">{escape(case)}</td>{_verdict(verdict, red)}<td class="l why">{escape(reason)}</td></tr>'
        for case, verdict, reason, red in sorted(said, key=lambda row: not row[3])
    ]
    return ["<h2>What the gates say</h2><table>", *rows, "</table>"]


def _curves(results: Sequence[Result], dense: Mapping[str, Record]) -> list[str]:
    records = {record.case: record for record in [*dense.values(), *(r.record for r in results)]}
    found = []
    for layers in ("all", "linear"):
        try:
            found += [f"<h2>Quality against sparsity, {layers} layers</h2>", draw([*records.values()], layers)]
        except HarnessError:
            # No case of these layers prunes one component alone.
            continue
    return found


def _group(title: str, rows: Sequence[Result], dense: Record | None) -> list[str]:
    shown = [column for column in _COLUMNS if any(column[0] in r.record.quality for r in rows)]
    head = "".join(f"<th>{name}</th>" for _, name, _ in shown)
    parts = [
        f'<h2>{escape(title)}</h2><table><tr><th>sparsity</th><th class="l">pictures</th>'
        f'<th class="l">verdict</th>{head}<th>zeros</th><th>seconds</th><th>MB</th></tr>'
    ]
    if dense is not None and rows[0].record.requested:
        parts.append(_row(dense, shown, "<td></td>"))
    parts += [_row(r.record, shown, _verdict(r.verdict, r.red)) for r in rows]
    return [*parts, "</table>"]


def _row(record: Record, shown: Sequence[tuple[str, str, int]], verdict: str) -> str:
    level = record.case.split("-")[-1] if record.requested else "dense"
    cells = [figure(record.quality[name], d) if name in record.quality else "–" for name, _, d in shown]
    cells += [zeros(record), f"{record.seconds['generate']:.1f}" if record.seconds else "kept"]
    cells.append("–" if record.tensor_megabytes is None else f"{record.tensor_megabytes:.1f}")
    figures = "".join(f"<td>{cell}</td>" for cell in cells)
    picture = f'<img src="rows/{escape(record.case)}.png" alt="pictures of {escape(record.case)}" loading="lazy">'
    return f'<tr><td>{escape(level)}</td><td class="l">{picture}</td>{verdict}{figures}</tr>'


def _latencies(latencies: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = ['<h2>Latency, pruned to dense</h2><table><tr><th class="l">case</th><th>ratio</th><th>rounds</th>']
    parts.append('<th class="l">verdict</th></tr>')
    for facts in latencies:
        ratio = facts["ratio"]
        parts.append(
            f'<tr><td class="l">{escape(facts["case"])}</td><td>{ratio["value"]:.3f} ± {ratio["se"]:.3f}</td>'
            f"<td>{ratio['n']}</td>{_verdict(facts['verdict'], bool(facts['red']))}</tr>"
        )
    return [*parts, "</table>"]
