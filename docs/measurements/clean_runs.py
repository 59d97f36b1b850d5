"""Is a clean branch green every time? The gate again and again in fresh processes, with other threads and orders.

    .venv/bin/python docs/measurements/clean_runs.py [RUNS] [-k WORDS]

Every run has an empty result store, 1, 2 or 4 threads in turn, and the cases in an order of its own. Prints a line per
run, and with how many red ones that leaves the false-alarm rate below what, at 95 %.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = (1, 2, 4)
PYTEST = (sys.executable, "-m", "pytest")


def cases(words: str) -> list[str]:
    """Return the ids of all items that `-k` selects."""
    command = [*PYTEST, "benchmarks", "-k", words, "--collect-only", "-q"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if "::" in line]


def once(ids: list[str], threads: int) -> tuple[int, str]:
    """Return exit status and closing line of one fresh process."""
    with tempfile.TemporaryDirectory() as name:
        options = ["--store", str(Path(name) / "store"), "--report", str(Path(name) / "report"), "-rfE"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        done = subprocess.run([*PYTEST, *ids, *options], env=environment, capture_output=True, text=True, check=False)
        red = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "WARNING"))]
        return done.returncode, "\n".join([done.stdout.strip().splitlines()[-1].strip("= "), *red])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int, nargs="?", default=20)
    parser.add_argument("-k", dest="words", default="magnitude")
    options = parser.parse_args()
    ids = cases(options.words)
    red = 0
    for i in range(options.runs):
        order = random.Random(i).sample(ids, len(ids))
        start = time.perf_counter()
        status, closing = once(order, THREADS[i % 3])
        red += status != 0
        seconds = time.perf_counter() - start
        print(f"run {i + 1:>2}  {THREADS[i % 3]} threads  {seconds:5.0f} s  exit {status}  {closing}", flush=True)
    # With none red of n, a rate p would have given that with a probability of (1 - p)^n.
    bound = f"; the false-alarm rate is below {1 - 0.05 ** (1 / options.runs):.0%} at 95 %" if not red else ""
    print(f"{red} of {options.runs} runs red{bound}")


if __name__ == "__main__":
    main()
