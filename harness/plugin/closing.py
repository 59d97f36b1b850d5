"""The end of a run: results, baselines, candidate, contact sheets and page.

If one cannot be written, the others still are.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from harness import results as written
from harness.errors import HarnessError
from harness.plugin import commands
from harness.plugin.results import Collected
from harness.plugin.settings import Settings
from harness.record import LatencyRecord, Record
from harness.results import Results
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository

# Options of other plugins that write a file when the run ends: the option → its attribute.
_THEIRS = {"--benchmark-json": "benchmark_json", "--benchmark-save": "benchmark_save", "--junitxml": "xmlpath"}


@dataclass(frozen=True)
class Line:
    """One line of the end of a run."""

    text: str
    """The text to print."""
    failed: bool = False
    """Whether something could not be written."""


def close(settings: Settings, collected: Collected, status: int | pytest.ExitCode, run: Sequence[str]) -> list[Line]:
    """Write all files of a run.

    Args:
        settings: The run's settings.
        collected: The results of the run.
        status: The exit status so far.
        run: The command that started the run.

    Returns:
        The lines to print, in order.
    """
    results = collected.results
    if settings.shard is not None:
        results = replace(results, shard=f"{settings.shard[0]}/{settings.shard[1]}")
    anchors = [] if settings.update else collected.unselected
    red = [result.record for result in (*results.cases, *anchors) if result.red]
    steps: list[Callable[[], Iterable[str]]] = []
    # A run without a case leaves the results of an earlier one.
    if settings.json is not None and collected:
        steps.append(partial(_write_json, settings.json, results))
    if settings.update and collected:
        steps.append(partial(_update, settings, collected, status))
    if red and settings.update:
        steps.append(partial(_refused, red, run))
    elif red:
        steps += [partial(_candidates, settings, red, collected), partial(_commands, red, run)]
    if collected:
        steps += [partial(_sheets, results, settings.report), partial(_page, results, settings)]
        steps.append(partial(_green, collected, settings.report))
    if settings.changed and collected:
        steps.append(partial(_changed, collected))
    return [line for step in steps for line in _done(step)]


def not_ours(option: argparse.Namespace, error: OSError) -> Line:
    """Return the line for a file that another plugin could not write.

    Args:
        option: pytest's options.
        error: The error that the plugin raised.
    """
    given = [name for name, attribute in _THEIRS.items() if getattr(option, attribute, None)]
    text = f"ERROR: {' or '.join(given) or 'a file of another plugin'} cannot be written ({error}). "
    text += "PruneGate's own files are complete. Free some space, or name another place"
    return Line(text, failed=True)


def _done(step: Callable[[], Iterable[str]]) -> Iterator[Line]:
    try:
        for text in step():
            yield Line(text)
    except HarnessError as error:
        yield Line(f"ERROR: {error}", failed=True)


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _write_json(path: Path, results: Results) -> Iterator[str]:
    written.write(path, results)
    yield f"\nresults: {_relative(path)}"


def _update(settings: Settings, collected: Collected, status: int | pytest.ExitCode) -> Iterator[str]:
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        yield "\nthe run was interrupted: the baselines stay as they were"
        return
    records = [result.record for result in collected.results.cases if not result.red]
    for path, (cases, latencies) in _by_file(settings, records, collected.latency_records).items():
        # Read the file again: another run may have stored something in the meantime.
        before = Repository.open(path)
        # Without a dense model no case can be judged on another stack.
        dense = [result.record for result in collected.unselected if not result.red]
        dense = [record for record in dense if settings.baselines_of(record.case.target) == path]
        cases += [record for record in dense if before.entry(record.case, record.workload, record.stack) is None]
        before.updated(cases, collected.facts, latencies, provenance(settings.reason)).write()
        yield f"\nbaselines stored in {_relative(path)}:"
        for line in before.described(cases, latencies):
            yield f"  {line}"
        for line in _namesakes(before, collected):
            yield f"  {line}"


def _namesakes(before: Repository, collected: Collected) -> Iterator[str]:
    """Yield a line for each target of which the file has baselines of other weights too. Ids do not tell them apart."""
    ours: dict[str, set[str]] = {}
    for facts in collected.facts.values():
        ours.setdefault(facts.target, set()).add(facts.model)
    for target, models in ours.items():
        if {facts.model for facts in before.baselines.workloads.values() if facts.target == target} - models:
            line = f"the file also has baselines of other weights called {target}. They stay"
            line += ", but latencies of the same cases are replaced" if collected.latency_records else ""
            yield f"{line}. To keep two pipelines of one name apart, give each a file with --baselines"


def _candidates(settings: Settings, red: Sequence[Record], collected: Collected) -> Iterator[str]:
    why = provenance("candidate of a run with red cases; nobody has accepted it")
    for path, (cases, _) in _by_file(settings, red, ()).items():
        target = settings.report / f"{path.stem}.candidate.json"
        Repository.open(path).updated(cases, collected.facts, (), why).write(target)
        count = f"{len(cases)} red case{'s' * (len(cases) > 1)}"
        yield f"\nthe baselines with this run's figures of the {count}: {_relative(target)}"


def _commands(red: Sequence[Record], run: Sequence[str]) -> Iterator[str]:
    case = red[0].case.id
    yield f"to see the pictures of {case}: {commands.again(run, case, '--images', 'pictures')}"
    yield f"to store its figures, if the change is meant: {commands.storing(run, case)}"
    if len(red) > 1:
        yield f"to store those of all cases of this run: {commands.storing(run)}"


def _refused(red: Sequence[Record], run: Sequence[str]) -> Iterator[str]:
    case = red[0].case.id
    yield f"\nnot stored, because pictures show nothing: {', '.join(record.case.id for record in red)}"
    yield f"to see the pictures of {case}: {commands.again(run, case, '--images', 'pictures')}"
    yield f"to store it all the same: {commands.storing(run, case)} --accept-degenerate"


def _sheets(results: Results, report: Path) -> Iterator[str]:
    from harness.report.pictures import contact_sheets

    for path in contact_sheets(results, report):
        yield f"contact sheet: {_relative(path)}"


def _page(results: Results, settings: Settings) -> Iterator[str]:
    from harness.report import page

    yield f"report: {_relative(page.write(results, settings.report, settings.images))}"


def _green(collected: Collected, report: Path) -> Iterator[str]:
    from harness.report.album import keep_green

    judged = [*collected.results.cases, *collected.unselected]
    keep_green([one.record for one in judged if not one.red and not one.record.spared], report)
    yield from ()


def _changed(collected: Collected) -> Iterator[str]:
    spared = sum(result.record.spared for result in collected.results.cases)
    counts = f"\n{spared} of {len(collected.results.cases)} cases are UNCHANGED"
    yield f"{counts}: their pruned weights and figures are the baseline's, and nobody made their pictures"
    yield "latency and speed were left out (--changed)"


def _by_file(
    settings: Settings, records: Sequence[Record], latencies: Sequence[LatencyRecord]
) -> dict[Path, tuple[list[Record], list[LatencyRecord]]]:
    """Return baselines file → the records and latencies of its targets."""
    parts: dict[Path, tuple[list[Record], list[LatencyRecord]]] = {}
    for record in records:
        parts.setdefault(settings.baselines_of(record.case.target), ([], []))[0].append(record)
    for latency in latencies:
        parts.setdefault(settings.baselines_of(latency.case.target), ([], []))[1].append(latency)
    return parts


def provenance(reason: str) -> Provenance:
    """Return the provenance of new baselines: the commit, today's date and the reason."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Provenance(_commit(Path(__file__).parents[1]), today, reason)


def _commit(folder: Path) -> str:
    """Return the commit of the code, with "-dirty" where a file of the code was changed or added since.

    An installed package has no commit, also where its environment lies in a repository of its user's: its version.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        if git("rev-parse", "--show-prefix") == f"{folder.name}/":
            changed = git("status", "--porcelain", "--", ".", "../pruners")
            return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    with suppress(PackageNotFoundError):
        return f"prunegate {version('prunegate')}"
    return "unknown"
