"""Is unchanged code green every time? Runs the gate again and again in fresh processes.

    python tools/clean_runs.py [RUNS] [-k WORDS] [--tier smoke] [--out FILE]

Every run has an empty result store, and in turn other threads, batches, CPU kernels and hash seeds, and the cases in an
order of its own. FILE keeps a line of JSON per run: runs that are there are not repeated, so an interrupted tool goes
on. Prints a line per run, and the upper bound of the false-alarm rate at 95 %. See docs/measurements/clean_runs.md.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool, path
from harness.errors import HarnessError
from harness.plugin.noise import threaded

THREADS = (1, 2, 4)
BATCHES = (32, 7, 1, 64)
KERNELS: tuple[dict[str, str], ...] = (
    {},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"MKL_CBWR": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"MKL_CBWR": "COMPATIBLE"},
)
"""Variables of CPU kernels. 3 numbers of threads, 4 batches and 7 choices of kernels meet in 84 ways."""
PYTEST = (sys.executable, "-m", "pytest")


@dataclass(frozen=True)
class Setting:
    """The settings of one run."""

    threads: int
    """CPU threads."""
    batch: int
    """Pictures generated at once."""
    hash_seed: int
    """Python's hash seed; also the seed of the order of cases."""
    kernels: Mapping[str, str] = field(default_factory=dict)
    """Variables that choose CPU kernels; empty: those that the processor offers."""

    @property
    def words(self) -> str:
        """Return the settings in words."""
        chosen = ", ".join(f"{name}={value}" for name, value in self.kernels.items())
        return f"{self.threads} threads, batch {self.batch}, hash seed {self.hash_seed}{chosen and ', ' + chosen}"


@dataclass(frozen=True)
class Run:
    """The result of one run: a line of the file."""

    number: int
    """Its number, from 0."""
    selected: str
    """The words and the tier that chose its cases."""
    setting: Setting
    """Its settings."""
    status: int
    """Exit status."""
    seconds: float
    """Wall time."""
    closing: str
    """The last line of pytest, and a line per red case or warning."""


def setting(number: int) -> Setting:
    """Return the settings of a run. number: from 0."""
    return Setting(
        THREADS[number % len(THREADS)], BATCHES[number % len(BATCHES)], number, KERNELS[number % len(KERNELS)]
    )


def cases(words: str, tier: str) -> list[str]:
    """Return the ids of all items that `-k` and the tier select.

    Raises:
        HarnessError: There are none, or pytest fails.
    """
    command = [*PYTEST, "benchmarks", "-k", words, "--tier", tier, "--collect-only", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not ids:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise HarnessError(f"-k {words!r} selects nothing; pytest said: {said}. Give other words")
    return ids


def once(ids: Sequence[str], tier: str, settings: Setting) -> tuple[int, str]:
    """Return exit status and closing lines of one fresh process."""
    with tempfile.TemporaryDirectory() as name:
        options = ["--tier", tier, "--batch-size", str(settings.batch), "--store", str(Path(name) / "store")]
        options += ["--report", str(Path(name) / "report"), "-rfE"]
        environment = (
            os.environ | threaded(settings.threads) | settings.kernels | {"PYTHONHASHSEED": str(settings.hash_seed)}
        )
        done = subprocess.run([*PYTEST, *ids, *options], env=environment, capture_output=True, text=True, check=False)
    red = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "WARNING"))]
    closing = (done.stdout.strip() or done.stderr.strip() or "nothing was printed").splitlines()[-1].strip("= ")
    return done.returncode, "\n".join([closing, *red])


def bound(runs: int) -> float:
    """Return the rate of false alarms that would have left all runs green with a probability of 5 %."""
    return 1 - float(0.05 ** (1 / runs))


def known(file: Path | None, selected: str) -> dict[int, Run]:
    """Return the runs of a file, by number; none where there is no file.

    Raises:
        HarnessError: The file holds something else, or runs of other cases.
    """
    if file is None or not file.is_file():
        return {}
    try:
        runs = [msgspec.json.decode(line, type=Run) for line in file.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise HarnessError(f"--out {file} is no file of this tool ({error}); give another name") from error
    other = next((run.selected for run in runs if run.selected != selected), None)
    if other is not None:
        raise HarnessError(f"--out {file} holds runs of {other}, not of {selected}; give another name")
    return {run.number: run for run in runs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a run was red."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("runs", type=count, nargs="?", default=20, metavar="RUNS", help="default: 20")
    parser.add_argument("-k", dest="words", metavar="WORDS", help="default: magnitude; in the tier smoke every case")
    parser.add_argument("--tier", default="pr", choices=("smoke", "pr", "full"), help="default: pr")
    parser.add_argument("--out", type=path, metavar="FILE", help="keeps the runs, so that the tool can go on")

    def work() -> int:
        given = parser.parse_args(arguments)
        words = given.words if given.words is not None else "" if given.tier == "smoke" else "magnitude"
        return _print(words, given.tier, given.runs, given.out)

    return guarded(work)


def _print(words: str, tier: str, runs: int, file: Path | None) -> int:
    selected = f"-k {words!r} --tier {tier}"
    there, ids = known(file, selected), cases(words, tier)
    for number in range(runs):
        if number not in there:
            run = _measured(number, ids, tier, selected)
            there[number] = run
            if file is not None:
                with file.open("ab") as stream:
                    stream.write(msgspec.json.encode(run) + b"\n")
        run = there[number]
        print(f"run {number + 1:>3}  {run.setting.words}  {run.seconds:.0f} s  exit {run.status}  {run.closing}",
              flush=True)  # fmt: skip
    red = sum(there[number].status != 0 for number in range(runs))
    said = "" if red else f"; the false-alarm rate is below {bound(runs):.1%} at 95 %"
    print(f"{red} of {runs} runs red{said}")
    return 1 if red else 0


def _measured(number: int, ids: Sequence[str], tier: str, selected: str) -> Run:
    settings, start = setting(number), time.perf_counter()
    status, closing = once(random.Random(number).sample(ids, len(ids)), tier, settings)
    return Run(number, selected, settings, status, round(time.perf_counter() - start, 1), closing)


if __name__ == "__main__":
    sys.exit(main())
