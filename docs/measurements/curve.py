"""Quality against sparsity, a table per component and method, from what `pytest benchmarks --benchmark-json` wrote.

    python docs/measurements/curve.py run.json [LAYERS]

A cell is the value ± one standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.measurement import Measurement
from harness.record import Record, read_records

METRICS = (
    ("fid", "FID", 2),
    ("fid_dense", "FID to dense", 2),
    ("clip", "CLIP score", 1),
    ("composition", "composition", 2),
    ("drift", "drift", 2),
)


def row(name: str, record: Record) -> str:
    """Return one line of the table."""
    cells: list[tuple[Measurement, int]] = [(record.quality[metric], decimals) for metric, _, decimals in METRICS]
    return f"| {name} | " + " | ".join(f"{m.value:.{d}f} ± {m.se:.{d}f}" for m, d in cells) + " |"


def main(path: Path, layers: str) -> None:
    """Print the tables, the dense run first in each."""
    records = read_records(path)
    dense = next((record for record in records if not record.requested), None)
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        _, component, method, kind, _ = record.case.split("-")
        if kind == layers:
            groups.setdefault((component, method), []).append(record)
    for (component, method), found in sorted(groups.items()):
        print(f"**{component}, {method}** (n = {found[0].quality['clip'].n})\n")
        print("| sparsity | " + " | ".join(name for _, name, _ in METRICS) + " |\n" + "|---" * (1 + len(METRICS)) + "|")
        if dense is not None:
            print(row("0", dense))
        for record in sorted(found, key=lambda r: (":" in r.case, tuple(r.requested.values()))):
            print(row(record.case.rpartition("-")[2], record))
        print()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "all")
