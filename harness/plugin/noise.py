"""`--calibrate-noise K`: measure in fresh processes how far figures move when nothing has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import results
from harness.errors import HarnessError
from harness.plugin import commands
from harness.plugin.closing import provenance
from harness.plugin.settings import Settings
from harness.record import Record
from harness.verdict.repository import Repository

# Options that are not passed on to the processes.
_OURS = (
    "--calibrate-noise", "--baseline-reason", "--benchmark-json", "--batch-size", "--report", "--images", "--junitxml",
)  # fmt: skip
THREADS = (1, 2, 4)


def runs_of(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the number of threads and the batch size of every run: threads vary first, then batches are halved."""
    return [(THREADS[i % 3], max(1, batch_size // (1 + i // 3 % 2))) for i in range(count)]


def threaded(threads: int) -> dict[str, str]:
    """Return the variables that give a process a number of CPU threads. MKL alone would stop at the number of cores."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "MKL_DYNAMIC": "FALSE"}


def calibrate(
    settings: Settings, arguments: Sequence[str], folder: Path, say: Callable[[str], None]
) -> Iterator[tuple[str, bool]]:
    """Measure the noise of the selected cases, and store it.

    Args:
        settings: The run's settings.
        arguments: The arguments of pytest.
        folder: The folder in which pytest was started.
        say: Prints a line.

    Yields:
        A line per case, and whether its noise was stored.

    Raises:
        HarnessError: A process measured nothing, or the baselines cannot be read or written.
    """
    assert settings.calibrate is not None
    measured = _measure(settings, settings.calibrate, arguments, folder, say)
    say("standard deviations between runs:")
    paths = {settings.baselines_of(record.case.target): None for run in measured for record in run}
    for path in paths:
        runs = [[record for record in run if settings.baselines_of(record.case.target) == path] for run in measured]
        repository, lines = Repository.open(path).with_noise(runs, provenance(settings.reason))
        repository.write()
        yield from lines


def _measure(
    settings: Settings, count: int, arguments: Sequence[str], folder: Path, say: Callable[[str], None]
) -> list[list[Record]]:
    """Run pytest in fresh processes, and return the records of each."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="prunegate-noise-") as name:
        for i, (threads, batch) in enumerate(runs_of(count, settings.batch_size)):
            say(f"run {i + 1} of {count}: {threads} threads, batches of {batch}")
            out = Path(name) / f"{i}.json"
            command = [sys.executable, "-m", "pytest", *commands.without(arguments, _OURS), f"--batch-size={batch}"]
            # Written with "=", because pytest would collect a folder that stands by itself.
            command += [f"--json={out}", f"--report={Path(name) / 'report'}"]
            done = subprocess.run(
                command, cwd=folder, env=os.environ | threaded(threads), capture_output=True, text=True, check=False
            )
            try:
                measured.append([result.record for result in results.read(out).cases])
            except HarnessError as error:
                said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
                raise HarnessError(
                    f"--calibrate-noise: run {i + 1} measured nothing; its last line is: {said}"
                ) from error
    return measured
