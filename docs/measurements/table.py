"""Quality of every method at a few sparsities as Markdown, from what `pytest benchmarks --benchmark-json` wrote.

    python docs/measurements/table.py full.json [LAYERS]

One table per component and metric; a cell is the value ± one standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.measurement import Measurement
from harness.record import read_records

METHODS = (
    "magnitude", "global_magnitude", "owl_magnitude", "wanda", "owl_wanda", "sparsegpt", "owl_sparsegpt", "random",
)  # fmt: skip
LEVELS = ("0.30", "0.50", "0.60", "0.70", "0.80", "2:4")
METRICS = (("clip", "CLIP score", 1), ("composition", "composition accuracy", 2), ("fid", "FID", 1))


def cell(measured: Measurement | None, decimals: int) -> str:
    """Return the table's cell, empty for a case that the file does not have."""
    return "" if measured is None else f"{measured.value:.{decimals}f} ± {measured.se:.{decimals}f}"


def main(path: Path, layers: str) -> None:
    """Print the tables."""
    records = {record.case: record for record in read_records(path)}
    dense = next((record for record in records.values() if not record.requested), None)
    if dense is None:
        sys.exit(f"{path} lacks the dense case; run it without -k, or with -k 'dense or …'")
    n = dense.quality["clip"].n
    for component in ("text_encoder", "unet"):
        for metric, title, decimals in METRICS:
            print(f"\n**{component}, {title}** (dense {cell(dense.quality[metric], decimals)}, n = {n})\n")
            print("| method | " + " | ".join(LEVELS) + " |\n|---|" + "---|" * len(LEVELS))
            for method in METHODS:
                row = [records.get(f"scenes-{component}-{method}-{layers}-{level}") for level in LEVELS]
                if any(row):
                    cells = [cell(record.quality[metric] if record else None, decimals) for record in row]
                    print(f"| {method} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "all")
