"""`prunegate explain`: where a case begins to differ from its baseline."""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.case import Case
from harness.cli.parsers import Commands, Parser, declare, path
from harness.cli.progress import progress, say
from harness.errors import HarnessError
from harness.results import Result, Results, read

if TYPE_CHECKING:
    from harness.record import Record
    from harness.verdict.baseline import Baseline
    from harness.verdict.repository import Repository

LIST = "`pytest benchmarks --tier full --collect-only -q` lists all ids"


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "explain",
        "say at which stage a case begins to differ from its baseline",
        "Run a case, or read a finished run, and compare every stage with the case's baseline: masks, weights, encoded "
        "captions, the latent after every step, picture, features, scores. Print a line per stage and the figures that "
        "moved, for the case and for the dense model. σ is how far a stage moves when nothing has changed.",
        "prunegate explain scenes-unet-magnitude-all-0.50",
        "prunegate explain [-h] [--run RUN] [--baselines FILE] CASE [options of pytest benchmarks]",
    )
    _own(parser)
    parser.add_argument("case", metavar="CASE", help="the id of a case")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="…",
        help="options of `pytest benchmarks`, those of the run that was red: --tier full, --target DIR, …",
    )  # fmt: skip
    parser.set_defaults(run=run)


def _own(parser: Parser) -> None:
    parser.add_argument(
        "--run", type=path, metavar="RUN", dest="file",
        help="read this file of `pytest benchmarks --json` instead of running the case",
    )  # fmt: skip
    parser.add_argument(
        "--baselines", type=path, metavar="FILE",
        help="the baselines file (default: baselines.json, or baselines.NAME.json for another target)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the stages of the case and of the dense model."""
    from harness.verdict.repository import Repository
    from harness.verdict.sidecar import file_of

    if options.case.count("-") not in (4, 5):
        raise HarnessError(f"CASE {options.case!r} is no id, such as scenes-unet-magnitude-all-0.50; {LIST}")
    later = Parser(prog="prunegate explain", add_help=False, allow_abbrev=False)
    _own(later)
    # argparse hands over everything behind CASE as it is, our own options too.
    behind, passed = later.parse_known_args(options.options)
    file, baselines = behind.file or options.file, behind.baselines or options.baselines
    if file is not None and passed:
        raise HarnessError(f"--run reads a finished run, and {passed[0]} applies to a new one. Leave one of them out.")
    if baselines is not None:
        passed += ["--baselines", str(baselines)]
    target = options.case.partition("-")[0]
    repository = Repository.open(baselines or Path(file_of(target)))
    if file is None and options.case not in repository.baselines.cases:
        near = difflib.get_close_matches(options.case, repository.baselines.cases, n=3)
        advice = f"did you mean {' or '.join(near)}?" if near else f"store one: {repository.command(options.case)}."
        raise HarnessError(f"{repository.path} has no baseline of {options.case}; {advice} {LIST}")
    results = read(file) if file is not None else _measured(options.case, target, passed)
    result = _of(results, options.case, file)
    for line in _told(result, results, repository):
        say(line)
    return 0


def _measured(case: str, target: str, passed: Sequence[str]) -> Results:
    """Run a case and the dense model in a new process, and return the results."""
    with tempfile.TemporaryDirectory(prefix="prunegate-explain-") as name, progress() as show:
        show(f"running {case}")
        out = Path(name) / "run.json"
        command = [sys.executable, "-m", "pytest", "benchmarks", *passed]
        command += ["-k", f"test_quality and ({case} or {Case(target).id})", f"--json={out}", f"--report={name}/report"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not out.is_file():
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["nothing"]
            wrong = next((line for line in said if line.startswith("ERROR")), said[-1]).removeprefix("ERROR: ")
            raise HarnessError(f"{case}: `pytest benchmarks` measured nothing; it says: {wrong}")
        return read(out)


def _of(results: Results, case: str, file: Path | None) -> Result:
    for result in results.cases:
        if result.record.case.id == case:
            return result
    if file is not None:
        raise HarnessError(f"--run {file} has no case {case}; it has {results.cases[0].record.case.id} and the like")
    raise HarnessError(f"CASE {case} is no case of this run; {LIST}. Add its --tier, or another --target")


def _told(result: Result, results: Results, repository: Repository) -> Iterator[str]:
    """Yield the lines of a case, and those of its dense model."""
    from harness.verdict.effect import Rules, anchor
    from harness.verdict.explained import lines
    from harness.verdict.stages import Dense

    record, dense = result.record, results.dense.get(result.record.case.target)
    before = _stored(record, repository)
    of_dense = None if dense is None else repository.find(dense.case, dense.workload, before.stack)
    yield f"{record.case.id}: {result.verdict}"
    against = None
    if dense is not None and of_dense is not None and not record.case.is_dense:
        moved = anchor(dense, of_dense, Rules(), record.case.moves_weights)
        against = Dense(of_dense, dense) if moved is not None else None
    yield from lines(record, before, against)
    if dense is None or of_dense is None or record.case.is_dense or not of_dense.trace.stages:
        return
    yield ""
    yield f"the dense model, {dense.case.id}"
    yield from lines(dense, of_dense)


def _stored(record: Record, repository: Repository) -> Baseline:
    """Return the baseline of a record. Raises HarnessError where there is none to compare with."""
    case, file = record.case.id, repository.path
    before = repository.find(record.case, record.workload, record.stack)
    store = f"store one with {repository.command(case)}"
    if before is None:
        raise HarnessError(f"{file} has no baseline of {case} for this model, captions and protocol; {store}")
    if not (before.trace.stages and record.trace.stages):
        where = file if not before.trace.stages else "the run"
        raise HarnessError(f"{where} has no stages of {case}; {store}")
    return before
