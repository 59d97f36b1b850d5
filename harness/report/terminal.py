"""One line per case and a closing table: plain text, no terminal control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.measurement import Measurement
from harness.record import Record

_NAMES = (
    ("sparsity", 13),
    ("FID", 15),
    ("KID", 13),
    ("CLIP score", 13),
    ("composition", 15),
    ("drift", 6),
    ("zeros", 6),
    ("s", 5),
    ("MB", 5),
    ("stored", 6),
)


def head(kid: bool) -> str:
    """Return the head of a table. kid: with a column for KID, which only pipelines of the user's have."""
    return "".join(f"{name:>{width}}  " for name, width in _NAMES if kid or name != "KID") + "verdict"


def figure(m: Measurement, decimals: int) -> str:
    """Return "value ± standard error"."""
    # Adding nothing makes a rounded -0 a 0.
    return f"{round(m.value, decimals) + 0.0:.{decimals}f} ± {m.se:.{decimals}f}"


def zeros(record: Record) -> str:
    """Return the share of zeros among the targeted weights of all pruned components."""
    counts = [record.exact["components"][component] for component in record.requested]
    targeted = sum(c["targeted"] for c in counts)
    return f"{sum(c['zeros'] for c in counts) / targeted:.1%}" if targeted else "-"


def columns(record: Record, level: str, verdict: str, kid: bool) -> str:
    """Return one row under `head(kid)`: MB of tensors at once while generating, stored MB of parameters."""
    shown = dict.fromkeys(("fid", "kid", "clip", "composition"), "-")
    decimals = {"fid": 2, "kid": 2, "clip": 2, "composition": 3}
    shown |= {name: figure(record.quality[name], decimals[name]) for name in shown if name in record.quality}
    seconds = f"{record.seconds['generate']:.1f}" if record.seconds else "kept"
    needed = "-" if record.tensor_megabytes is None else f"{record.tensor_megabytes:.1f}"
    stored = sum(counts["stored"] for counts in record.parameter_bytes.values()) / 1e6
    distance = f"{shown['kid']:>13}  " if kid else ""
    return (
        f"{level:>13}  {shown['fid']:>15}  {distance}{shown['clip']:>13}  {shown['composition']:>15}  "
        f"{record.quality['drift'].value:>6.2f}  {zeros(record):>6}  {seconds:>5}  {needed:>5}  {stored:>6.1f}  "
        f"{verdict}"
    )


def case_line(record: Record, verdict: str) -> str:
    """Return the line that is printed when a case is done."""
    labels = {"fid": ("FID", 6, 2), "clip": ("CLIP", 5, 2), "composition": ("composition", 0, 3)}
    shown = [
        f"{label} {record.quality[name].value:{width}.{decimals}f}"
        for name, (label, width, decimals) in labels.items()
        if name in record.quality
    ]
    seconds = f"{record.seconds['generate']:4.1f} s" if record.seconds else "  kept"
    return f"{record.case:<46} {'  '.join(shown)}  {seconds}  {verdict}"


def tables(results: Iterable[tuple[Record, str]], dense: Mapping[str, Record]) -> list[str]:
    """Return the closing tables, one per target, component, method and layer choice, its dense model on top of each."""
    groups: dict[tuple[str, ...], list[tuple[Record, str]]] = {}
    for record, verdict in results:
        *group, _ = record.case.split("-")
        groups.setdefault(tuple(group), []).append((record, verdict))
    lines: list[str] = []
    for (target, component, method, layers), rows in sorted(groups.items()):
        if method == "dense":
            continue
        n, kid = rows[0][0].quality["clip"].n, "kid" in rows[0][0].quality
        lines += ["", f"{target}: {component} pruned by {method}, {layers} layers, n = {n}", head(kid)]
        if target in dense:
            lines.append(columns(dense[target], "dense", "", kid))
        for record, verdict in sorted(rows, key=lambda row: tuple(row[0].requested.values())):
            lines.append(columns(record, record.case.split("-")[-1], verdict, kid))
    if lines:
        lines += [
            "",
            "± one standard error; MB: tensors at once while generating; stored: parameters in MB, zeros as a bitmap",
        ]
    return lines
