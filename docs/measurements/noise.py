"""How much do the gate's figures move when nothing has changed? Threads and batch size vary, the code does not.

    .venv/bin/python docs/measurements/noise.py

Runs a few cases in fresh processes and prints, per run and metric, the largest distance from the first run, and
at the end the same per case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CASES = (
    "test_quality and (dense or (all and not both and (unet-magnitude-all-0.50 or text_encoder-magnitude-all-0.80 or "
)
CASES += "unet-wanda-all-0.40 or unet-wanda-all-0.80 or unet-owl_wanda-all-0.60 or "
CASES += "(unet-sparsegpt-all and (0.50 or 0.60 or 0.70 or 0.80 or 0.90)) or "
CASES += "(text_encoder-sparsegpt-all and (0.70 or 0.90)) or (owl_sparsegpt-all and 0.80))))"
RUNS = (("2", "32"), ("1", "32"), ("4", "32"), ("1", "7"))


def figures(threads: str, batch: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return case → metric → value of one fresh process."""
    out = folder / f"{threads}-{batch}.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "--tier", "full", "-k", CASES, "--batch-size", batch]
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


def line(moved: dict[str, float]) -> str:
    """Return the distances as text."""
    return "  ".join(f"{metric} {value:.5f}" for metric, value in moved.items())


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        first: dict[str, dict[str, Any]] = {}
        moved: dict[str, dict[str, float]] = {}
        print(f"{'threads':>7} {'batch':>5}  largest distance from the first run")
        for threads, batch in RUNS:
            found = figures(threads, batch, Path(name))
            first = first or found
            apart = {c: {m: distance(m, v, first[c][m]) for m, v in of.items()} for c, of in found.items()}
            moved = {c: {m: max(v, moved.get(c, {}).get(m, 0.0)) for m, v in of.items()} for c, of in apart.items()}
            worst = {m: max(of[m] for of in apart.values()) for m in ("fid", "clip", "composition", "keep")}
            print(f"{threads:>7} {batch:>5}  {line(worst)}  ({len(found)} cases)", flush=True)
        for case, of in moved.items():
            print(f"{case:<46} {line(of)}")


if __name__ == "__main__":
    main()
