"""How much do the gate's figures move when the code has not changed? Threads and batch size vary.

    python tools/noise.py [-k WORDS]

Runs a few cases in fresh processes. Prints the largest distance from the first run, per run and metric; and at the end
per case and metric. See docs/measurements/noise.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool
from harness.errors import HarnessError
from harness.record import Record
from harness.results import read
from harness.verdict.statistics import different_bits

CASES = (
    "test_quality and (dense or (all and not both and (unet-magnitude-all-0.50 or text_encoder-magnitude-all-0.80 or "
    "unet-wanda-all-0.40 or unet-wanda-all-0.80 or unet-owl_wanda-all-0.60 or "
    "(unet-sparsegpt-all and (0.50 or 0.60 or 0.70 or 0.80 or 0.90)) or "
    "(text_encoder-sparsegpt-all and (0.70 or 0.90)) or (owl_sparsegpt-all and 0.80))))"
)
RUNS = (("2", "32"), ("1", "32"), ("4", "32"), ("1", "7"))
"""Threads and batch size of every run."""
MASKS = "masks"
"""The printed name for the distance of keep masks, beside the names of metrics."""


def measured(words: str, threads: str, batch: str, folder: Path) -> dict[str, Record]:
    """Return the records of one fresh process, by the ids of their cases.

    Raises:
        HarnessError: The process has measured nothing.
    """
    out = folder / f"{threads}-{batch}.json"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "--tier", "full", "-k", words]
    command += ["--batch-size", batch, "--json", str(out), "--report", str(folder / "report")]
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not out.exists():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise HarnessError(f"-k {words!r} measured nothing; pytest said: {said}")
    return {result.record.case.id: result.record for result in read(out).cases}


def distances(now: Record, before: Record) -> dict[str, float]:
    """Return the distance of each figure between two runs, and the share of sampled places at which masks differ."""
    moved = {name: abs(figure.value - before.quality[name].value) for name, figure in now.quality.items()}
    differ, of = different_bits(now.keep, before.keep)
    return moved | {MASKS: differ / of if of else 0.0}


def largest(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the largest distance of every metric."""
    most: dict[str, float] = {}
    for moved in several:
        most |= {name: max(value, most.get(name, 0.0)) for name, value in moved.items()}
    return most


def line(moved: Mapping[str, float]) -> str:
    """Return the distances as text."""
    return "  ".join(f"{name} {value:.5f}" for name, value in moved.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("-k", dest="words", default=CASES, metavar="WORDS", help="which cases (default: 14 of scenes)")
    return guarded(lambda: _print(parser.parse_args(arguments).words))


def _print(words: str) -> int:
    by_case: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        first: dict[str, Record] = {}
        print(f"{'threads':>7} {'batch':>5}  largest distance from the first run")
        for threads, batch in RUNS:
            records = measured(words, threads, batch, Path(folder))
            first = first or records
            apart = {case: distances(record, first[case]) for case, record in records.items() if case in first}
            by_case |= {case: largest([moved, by_case.get(case, {})]) for case, moved in apart.items()}
            print(f"{threads:>7} {batch:>5}  {line(largest(apart.values()))}  ({len(records)} cases)", flush=True)
    for case, moved in by_case.items():
        print(f"{case:<46} {line(moved)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
