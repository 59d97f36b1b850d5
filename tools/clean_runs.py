"""Is unchanged code green every time? Runs the gate again and again in fresh processes.

    python tools/clean_runs.py [RUNS] [-k WORDS]

Every run has an empty result store, 1, 2 or 4 threads in turn, and the cases in an order of its own. Prints a line per
run, and the upper bound of the false-alarm rate at 95 %. See docs/measurements/clean_runs.md.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool
from harness.errors import HarnessError

THREADS = (1, 2, 4)
PYTEST = (sys.executable, "-m", "pytest")


def cases(words: str) -> list[str]:
    """Return the ids of all items that `-k` selects.

    Raises:
        HarnessError: There are none, or pytest fails.
    """
    command = [*PYTEST, "benchmarks", "-k", words, "--collect-only", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not ids:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise HarnessError(f"-k {words!r} selects nothing; pytest said: {said}. Give other words")
    return ids


def once(ids: Sequence[str], threads: int) -> tuple[int, str]:
    """Return exit status and closing line of one fresh process."""
    with tempfile.TemporaryDirectory() as name:
        options = ["--store", str(Path(name) / "store"), "--report", str(Path(name) / "report"), "-rfE"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        done = subprocess.run([*PYTEST, *ids, *options], env=environment, capture_output=True, text=True, check=False)
    red = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "WARNING"))]
    closing = (done.stdout.strip() or done.stderr.strip() or "nothing was printed").splitlines()[-1].strip("= ")
    return done.returncode, "\n".join([closing, *red])


def bound(runs: int) -> float:
    """Return the rate of false alarms that would have left all runs green with a probability of 5 %."""
    return 1 - float(0.05 ** (1 / runs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a run was red."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("runs", type=count, nargs="?", default=20, metavar="RUNS", help="default: 20")
    parser.add_argument("-k", dest="words", default="magnitude", metavar="WORDS", help="default: magnitude")

    def work() -> int:
        options = parser.parse_args(arguments)
        return _print(options.words, options.runs)

    return guarded(work)


def _print(words: str, runs: int) -> int:
    ids, red = cases(words), 0
    for i in range(runs):
        order = random.Random(i).sample(ids, len(ids))
        threads = THREADS[i % len(THREADS)]
        start = time.perf_counter()
        status, closing = once(order, threads)
        red += status != 0
        seconds = time.perf_counter() - start
        print(f"run {i + 1:>2}  {threads} threads  {seconds:5.0f} s  exit {status}  {closing}", flush=True)
    said = "" if red else f"; the false-alarm rate is below {bound(runs):.0%} at 95 %"
    print(f"{red} of {runs} runs red{said}")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
