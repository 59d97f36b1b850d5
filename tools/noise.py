"""How much do the gate's figures move when the code has not changed? The ladder of noise, rung by rung.

    python tools/noise.py --out DIR [--python 2.12.1=/path/to/python] [--only WORDS] [--rule]

Every rung measures the same cases of `scenes` in a fresh process: with other threads and batches, other CPU kernels,
another version of torch, another dtype, other start noise, on a GPU where there is one. DIR keeps the records of every
rung. A rung that is there is read, so an interrupted run goes on. Prints the tables of docs/measurements/noise.md; with
`--rule` also the constants that follow from them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ladder
import rule

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool, path
from harness.errors import HarnessError
from harness.plugin.noise import threaded

HERE = Path(__file__).resolve()
CHILD = HERE.with_name("records.py")
FIRST = "2 threads, batch 32"
"""The rung that all others are compared with."""
FRESH = "fresh process"
"""The rung that measures some cases again in its process."""
SEEDS = tuple(range(1, 11))
"""Seeds of the other start noises."""


@dataclass(frozen=True)
class Rung:
    """One setting of a process."""

    name: str
    """The name in tables and, with other characters, in files."""
    kind: str
    """A kind of `ladder.WITHIN` or `ladder.ELSEWHERE`; "first" for the first rung."""
    threads: int = 2
    """CPU threads."""
    options: tuple[str, ...] = ()
    """Options of tools/records.py."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that choose kernels."""
    python: str = sys.executable
    """The interpreter."""

    def file(self, folder: Path) -> Path:
        """Return the file of the rung's records."""
        return folder / f"{''.join(c if c.isalnum() else '-' for c in self.name)}.json"


def _batch(size: int) -> tuple[str, ...]:
    return ("--batch-size", str(size))


def _kernels(variable: str, value: str) -> Rung:
    return Rung(f"{variable}={value}", "kernels", environment={variable: value})


def noises(seeds: Sequence[int] = SEEDS) -> list[Rung]:
    """Return the rungs of other start noises: the pictures differ as if they came from another machine."""
    more = ("--pretended-torch", "another")
    return [Rung(f"start noise {seed}", "start noise", options=("--start-noise", str(seed), *more)) for seed in seeds]


def rungs(pythons: Mapping[str, str], gpu: bool) -> list[Rung]:
    """Return all rungs, the first one first.

    Args:
        pythons: Version of torch → an interpreter that has it.
        gpu: Whether there is a GPU.
    """
    return [
        Rung(FIRST, "first"),
        Rung(FRESH, "one stack"),
        Rung("1 thread, batch 32", "one stack", 1),
        Rung("2 threads, batch 7", "one stack", 2, _batch(7)),
        Rung("4 threads, batch 64", "one stack", 4, _batch(64)),
        _kernels("ATEN_CPU_CAPABILITY", "avx2"),
        _kernels("ATEN_CPU_CAPABILITY", "default"),
        Rung("bfloat16", "dtype", options=("--dtype", "bfloat16")),
        *noises(SEEDS[:3]),
        _kernels("ONEDNN_MAX_CPU_ISA", "AVX2"),
        _kernels("ONEDNN_MAX_CPU_ISA", "SSE41"),
        _kernels("MKL_CBWR", "AVX2"),
        _kernels("MKL_CBWR", "COMPATIBLE"),
        *(Rung(f"torch {name}", "torch", python=python) for name, python in pythons.items()),
        Rung("1 thread, batch 1", "one stack", 1, _batch(1)),
        *([Rung("GPU", "GPU", options=("--device", "cuda"))] if gpu else []),
        *noises(SEEDS[3:]),
        Rung("float16", "dtype", options=("--dtype", "float16")),
    ]


def measure(rung: Rung, folder: Path, cases: str, more: Sequence[str] = ()) -> Path:
    """Return the file of a rung's records, which a fresh process writes where it is missing.

    Args:
        rung: The rung.
        folder: Where the file is.
        cases: As tools/records.py takes them.
        more: Further options of tools/records.py.

    Raises:
        HarnessError: The process has measured nothing.
    """
    out = rung.file(folder)
    if out.is_file():
        return out
    start = time.perf_counter()
    print(f"{rung.name}: measuring", file=sys.stderr, flush=True)
    command = [rung.python, str(CHILD), str(out), "--cases", cases, *rung.options, *more]
    environment = {**os.environ, **threaded(rung.threads), **rung.environment, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not out.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise HarnessError(f"the rung {rung.name!r} measured nothing; its last line is: {said}")
    print(f"{rung.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return out


def pythons(given: Sequence[str]) -> dict[str, str]:
    """Return version → interpreter. Raises HarnessError for a text without "=" or a missing interpreter."""
    named = {}
    for text in given:
        name, _, place = text.partition("=")
        if not (name and Path(place).is_file()):
            raise HarnessError(
                f"--python {text} names no interpreter; give VERSION=FILE, such as 2.12.1=/venv/bin/python"
            )
        named[name] = place
    return named


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing and print the tables; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the records")
    parser.add_argument(
        "--python", action="append", default=[], metavar="VERSION=FILE", help="another torch; repeat it"
    )
    parser.add_argument("--cases", default="ladder", metavar="WORDS", help="as tools/records.py takes them")
    parser.add_argument("--only", metavar="WORDS", help="rungs whose names have one of these words, joined by commas")
    parser.add_argument("--rule", action="store_true", help="print the constants that follow")

    def work() -> int:
        import torch

        given = parser.parse_args(arguments)
        given.out.mkdir(parents=True, exist_ok=True)
        words = given.only.split(",") if given.only else [""]
        there: list[tuple[Rung, Path]] = []
        for rung in rungs(pythons(given.python), torch.cuda.is_available()):
            wanted = any(word in rung.name for word in words)
            if rung.name == FRESH and wanted:
                again = rung.file(given.out).with_suffix(".again.json")
                there.append((rung, measure(rung, given.out, given.cases, ("--again", str(again)))))
                there.append((Rung("again in one process", "one stack"), again))
            elif rung.name == FIRST or wanted:
                there.append((rung, measure(rung, given.out, given.cases)))
        (_, first), *others = there
        made = ladder.pairs(first, [(rung.name, rung.kind, file) for rung, file in others])
        for line in (*ladder.tables(made), *(["", *rule.lines(made)] if given.rule else [])):
            print(line)
        return 0

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
