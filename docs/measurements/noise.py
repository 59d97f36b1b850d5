"""How much do the gate's figures move when nothing has changed? Threads, batch size and order vary, the code does not.

    .venv/bin/python docs/measurements/noise.py

Runs a few cases in fresh processes and prints, per metric, the largest distance from the first run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CASES = "test_quality and (dense or (-magnitude-all and not both and (0.50 or 0.70)) or (unet-wanda-all and 0.40) or "
CASES += "(unet-sparsegpt-all and 0.60) or (unet-owl_wanda-all and 0.60) or (text_encoder-sparsegpt-all and 0.70))"
RUNS = (("2", "64"), ("2", "64"), ("1", "64"), ("2", "7"), ("4", "32"))


def figures(threads: str, batch: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return case → metric → value of one fresh process."""
    out = folder / f"{threads}-{batch}.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", CASES, "--batch-size", batch]
    command += ["--benchmark-json", str(out), "--report", str(folder / "report")]
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    found = [entry["extra_info"] for entry in json.loads(out.read_text())["benchmarks"]]
    return {
        info["case"]: {k: m["value"] for k, m in info["quality"].items()} | {"keep": info["exact"]["keep"]}
        for info in found
    }


def distance(metric: str, now: Any, before: Any) -> float:
    """Return how far a figure has moved; of masks, the share of sampled places that differ."""
    if metric == "keep":
        return (int(now, 16) ^ int(before, 16)).bit_count() / (4 * len(before))
    return abs(now - before)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        first: dict[str, dict[str, Any]] = {}
        print(f"{'threads':>7} {'batch':>5}  largest distance from the first run")
        for threads, batch in RUNS:
            found = figures(threads, batch, Path(name))
            first = first or found
            worst = {m: max(distance(m, found[c][m], first[c][m]) for c in first) for m in next(iter(first.values()))}
            row = "  ".join(f"{m} {v:.5f}" for m, v in worst.items())
            print(f"{threads:>7} {batch:>5}  {row}  ({len(found)} cases)", flush=True)


if __name__ == "__main__":
    main()
