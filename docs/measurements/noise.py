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

CASES = "test_quality and (dense or (magnitude and all and not both and (0.50 or 0.70)))"
RUNS = (("2", "64"), ("2", "64"), ("1", "64"), ("2", "7"), ("4", "32"))


def figures(threads: str, batch: str, folder: Path) -> dict[str, dict[str, float]]:
    """Return case → metric → value of one fresh process."""
    out = folder / f"{threads}-{batch}.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", CASES, "--batch-size", batch]
    command += ["--benchmark-json", str(out), "--report", str(folder / "report")]
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    found = [entry["extra_info"] for entry in json.loads(out.read_text())["benchmarks"]]
    return {info["case"]: {k: m["value"] for k, m in info["quality"].items()} for info in found}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        first: dict[str, dict[str, float]] = {}
        print(f"{'threads':>7} {'batch':>5}  largest distance from the first run")
        for threads, batch in RUNS:
            found = figures(threads, batch, Path(name))
            first = first or found
            worst = {m: max(abs(found[c][m] - first[c][m]) for c in first) for m in next(iter(first.values()))}
            row = "  ".join(f"{m} {v:.5f}" for m, v in worst.items())
            print(f"{threads:>7} {batch:>5}  {row}  ({len(found)} cases)", flush=True)


if __name__ == "__main__":
    main()
