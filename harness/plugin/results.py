"""Collects results: every test attaches its result to its report, and the controlling process gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pytest

from harness.facts import WorkloadFacts
from harness.record import LatencyRecord
from harness.report.terminal import case_line, latency_line
from harness.results import LatencyResult, Result, Results
from harness.verdict.holds import with_holding

# Names of user properties. Their values are JSON, so that they travel between processes.
QUALITY = "prunegate"
LATENCY = "prunegate-latency"
LINE = "prunegate-line"
# Why a worker of xdist cannot measure anything. The controlling process then ends the run.
UNUSABLE = "prunegate-unusable"


@dataclass(frozen=True)
class Told:
    """The values that a quality case attaches to its report, for the controlling process."""

    result: Result
    """The case and its verdict."""
    dense: Result
    """The target's dense model and its verdict, also where `-k` left the dense case out."""
    facts: tuple[WorkloadFacts, ...]
    """The facts of the workloads of both."""
    captions: tuple[str, ...]
    """The target's captions, in order."""
    rows: dict[str, str]
    """Id of a case → SHA-256 of its row of pictures, for the case and the dense model."""


def speaks(report: pytest.TestReport) -> bool:
    """Return whether a test has lines of its own, which stand in place of pytest's letter."""
    return report.when == "call" and any(name in (QUALITY, LATENCY, LINE) for name, _ in report.user_properties)


class Collected:
    """All results so far, on the process that sees all reports."""

    def __init__(self, budget: Mapping[str, float]) -> None:
        """Start without results. budget: metric → the largest loss against dense at which quality still holds."""
        self._budget = budget
        self._told: list[Told] = []
        # The results, and how many of them are in.
        self._known: tuple[int, Results] | None = None
        self._latencies: list[LatencyResult] = []
        self._notes: dict[str, int] = {}
        self._warnings: list[str] = []

    def add(self, report: pytest.TestReport) -> list[str]:
        """Take the results that a report carries, and return the lines to print."""
        lines: list[str] = []
        if not speaks(report):
            return lines
        for name, value in report.user_properties:
            if name == LINE:
                lines.append(str(value))
            elif name == QUALITY:
                told = msgspec.convert(value, Told)
                self._told.append(told)
                self._remember(report, told.result)
                lines.append(case_line(told.result))
            elif name == LATENCY:
                latency = msgspec.convert(value, LatencyResult)
                self._latencies.append(latency)
                self._remember(report, latency)
                lines.append(latency_line(latency))
        return lines

    def _remember(self, report: pytest.TestReport, result: Result | LatencyResult) -> None:
        for note in filter(None, result.note.split("; ")):
            self._notes[note] = self._notes.get(note, 0) + 1
        if result.reason and not result.red:
            self._warnings.append(f"{report.nodeid}: {result.verdict}: {result.reason}")

    def __bool__(self) -> bool:
        return bool(self._told or self._latencies)

    @property
    def results(self) -> Results:
        """Return the results, in the order in which the cases ended."""
        told = len(self._told) + len(self._latencies)
        if self._known is None or self._known[0] != told:
            self._known = told, with_holding(self._plain(), self._budget)
        return self._known[1]

    def _plain(self) -> Results:
        """Return the results without how far quality holds."""
        return Results(
            cases=tuple(told.result for told in self._told),
            latencies=tuple(self._latencies),
            dense={told.dense.record.case.target: told.dense.record for told in self._told},
            captions={told.dense.record.case.target: told.captions for told in self._told},
            rows={case: digest for told in self._told for case, digest in told.rows.items()},
        )

    @property
    def facts(self) -> dict[str, WorkloadFacts]:
        """Return the facts of every workload, by key."""
        return {facts.key: facts for told in self._told for facts in told.facts}

    @property
    def unselected(self) -> list[Result]:
        """Return the dense models whose own case did not run, with their verdicts."""
        own = {told.result.record.case for told in self._told}
        dense = {told.dense.record.case: told.dense for told in self._told}
        return [result for case, result in dense.items() if case not in own]

    @property
    def by_effect(self) -> str:
        """Return how many cases were judged by their effect, as a line; "" where none was."""
        count = sum(told.result.by_effect for told in self._told)
        return f"{count} of {len(self._told)} cases were judged by the effect of pruning, see above" if count else ""

    @property
    def latency_records(self) -> list[LatencyRecord]:
        """Return the ratios of latencies without their verdicts."""
        return [LatencyRecord(result.case, result.ratio, result.stack) for result in self._latencies]

    @property
    def notes(self) -> list[str]:
        """Return notes on values that were not compared, each with its number of cases."""
        return [f"{count} case{'s' * (count > 1)}: {note}" for note, count in self._notes.items()]

    @property
    def warnings(self) -> list[str]:
        """Return warnings: verdicts that are neither PASS nor red."""
        return list(self._warnings)
