"""`--calibrate-noise K`: how far the figures of cases move when nothing has changed, measured and stored."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.record import Record, read_records
from harness.verdict import baselines
from harness.verdict.judge import different_bits

# Options that this process alone understands, each with a value behind it or after "=".
_OURS = ("--calibrate-noise", "--baseline-reason", "--benchmark-json")
THREADS = (1, 2, 4)


def settings(runs: int, batch_size: int) -> list[tuple[int, int]]:
    """Return threads and batch size of every run: threads vary first, then batches are halved."""
    return [(THREADS[i % 3], max(1, batch_size // (1 + i // 3 % 2))) for i in range(runs)]


def child_arguments(arguments: Sequence[str]) -> list[str]:
    """Return pytest's arguments without those that are for this process alone."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] not in _OURS:
            kept.append(argument)
        skip = not skip and argument in _OURS
    return kept


def measure(
    arguments: Sequence[str], folder: Path, runs: int, batch_size: int, progress: Callable[[str], None]
) -> list[list[Record]]:
    """Run pytest in `runs` fresh processes and return what each has measured.

    arguments: of this process. folder: where they run. Raises HarnessError where a process measures nothing.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="prunegate-noise-") as name:
        for i, (threads, batch) in enumerate(settings(runs, batch_size)):
            progress(f"run {i + 1} of {runs}: {threads} threads, batches of {batch}")
            out = Path(name) / f"{i}.json"
            command = [sys.executable, "-m", "pytest", *child_arguments(arguments), f"--batch-size={batch}"]
            # With "=": pytest takes a folder that stands by itself for something to collect.
            command += [f"--benchmark-json={out}", f"--report={Path(name) / 'report'}"]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            try:
                found.append(read_records(out))
            except HarnessError as error:
                said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
                raise HarnessError(f"run {i + 1} of the calibration measured nothing; it said: {said}") from error
    return found


def store(path: Path, runs: Sequence[Sequence[Record]], about: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Put the standard deviations into the baselines at `path`; yield a line per case, and whether it is accepted.

    about: kept with each case. A case is refused, and stays as it was, where three times the noise of a metric exceeds
    its tolerance, and where it is not stored or not measured in every run. Raises HarnessError as `baselines.load` and
    `baselines.write` do.
    """
    old = baselines.load(path)
    cases = {case: dict(by_workload) for case, by_workload in old.cases.items()}
    lines = []
    by_case = [{record.case: record for record in run} for run in runs]
    for case in {case: None for run in by_case for case in run}:
        records = [run[case] for run in by_case if case in run]
        entry = cases.get(case, {}).get(records[0].workload)
        if entry is None or len(records) < len(runs):
            lines.append((f"{case:<46} not stored: it has no baseline, or was not measured in every run", False))
            continue
        sigma = {n: statistics.stdev(r.quality[n].value for r in records) for n in entry["quality"]}
        refused = [n for n, s in sigma.items() if 3 * s > entry["quality"][n]["tolerance"]]
        masks = max(different_bits(r.exact["keep"], records[0].exact["keep"])[0] for r in records)
        line = f"{case:<46} " + "  ".join(f"{n} {s:.2g}" for n, s in sigma.items()) + f"  masks {masks} bits"
        if refused:
            line += f"  REFUSED: three times that exceeds the tolerance of {', '.join(refused)}"
            lines.append((line, False))
            continue
        quality = {n: {**figure, "sigma_aa": round(sigma[n], 6)} for n, figure in entry["quality"].items()}
        cases[case][records[0].workload] = {**entry, "quality": quality, "noise": {"runs": len(runs), **about}}
        lines.append((line, True))
    baselines.write(replace(old, cases=cases))
    yield from lines
