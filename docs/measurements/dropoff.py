"""The drop-off of every method from what `pytest benchmarks --benchmark-json` wrote, as Markdown.

    python docs/measurements/dropoff.py run.json [LAYERS]

Quality holds while FID is at most 2 above the dense run's and the CLIP score at most 0.5 below it, paired by caption.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.record import Record, read_records
from harness.verdict.dropoff import curve, dropoff


def main(path: Path, layers: str) -> None:
    """Print the table."""
    records = read_records(path)
    dense = next((record for record in records if not record.requested), None)
    if dense is None:
        sys.exit(f"{path} lacks the dense case; run it without -k, or with -k 'dense or …'")
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        _, component, method, kind, level = record.case.split("-")
        if kind == layers and ":" not in level and len(set(record.requested.values())) == 1:
            groups.setdefault((component, method), []).append(record)
    print(
        f"n = {dense.quality['clip'].n}\n\n| component | method | last level that holds | 95 % interval | steep from |"
    )
    print("|---|---|---|---|---|")
    for (component, method), found in sorted(groups.items()):
        if len(found) >= 3:
            d = dropoff(curve(dense, found))
            print(f"| {component} | {method} | {d.last:g} | {d.low:g} – {d.high:g} | {d.knee:g} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "all")
