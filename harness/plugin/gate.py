"""The fixture `gate`: runs a case, and fails the test when the verdict is red."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from harness import digests
from harness.case import Case
from harness.execution import sources
from harness.measurement import Measurement
from harness.plugin import changed
from harness.plugin.results import LATENCY, LINE, QUALITY, Told
from harness.plugin.settings import Settings
from harness.record import LatencyRecord, Record
from harness.report.moved import figures
from harness.report.terminal import candidate_line
from harness.results import LatencyResult, Result, plain
from harness.verdict import judge as verdicts
from harness.verdict import tuning
from harness.verdict.holds import holding
from harness.verdict.repository import Damaged, Repository
from harness.verdict.verdict import Verdict

if TYPE_CHECKING:
    from harness.execution.bench import Workbench
    from harness.execution.outcome import Outcome
    from harness.plugin.running import Running
    from harness.verdict.baseline import Baseline

# A case's result depends on this module and its imports.
CASES = "harness.execution.run"
# Keeps a JSON value under a name.
Keep = Callable[[str, object], None]


class Gate:
    """The fixture `gate`: measures cases and fails the test when the verdict is red."""

    def __init__(
        self,
        running: Running,
        repository: Repository,
        settings: Settings,
        tell: Keep,
        keep_beside_time: Keep,
        planned: Sequence[Case] = (),
    ) -> None:
        """Serve one test.

        Args:
            running: Runs the cases of the test's target.
            repository: The stored baselines.
            settings: The run's settings.
            tell: Adds a user property to the test, which travels with its report.
            keep_beside_time: Adds a value to the test's entry in `--benchmark-json`.
            planned: All cases of the run. With `--changed` some of them audit the others.
        """
        self.settings = settings
        self._running, self._repository = running, repository
        self._tell, self._keep_beside_time = tell, keep_beside_time
        self._planned = planned

    @property
    def bench(self) -> Workbench:
        """Return the loaded workload of this process: for latency, captions and facts."""
        return self._running.bench

    def run(self, case: Case) -> Outcome:
        """Run a case and wait for its outcome. Keeps its row of the contact sheet, and with `--images` every picture.

        Raises:
            HarnessError: The case cannot run, or a picture cannot be written.
        """
        outcome = self._run(case)
        self._keep_beside_time("record", plain(outcome.record))
        return outcome

    def measured(self, case: Case) -> Record | None:
        """Return the record of a case that has run in this process, or None."""
        return self._running.known(case)

    def known(self, case: Case) -> Record:
        """Return the record of a case that has run in this process, or run the case now."""
        return self._running.known(case) or self._run(case).record

    def _run(self, case: Case) -> Outcome:
        """Run a case. With `--changed`, no pictures are made where its weights are the baseline's."""
        if not self.settings.changed or case.is_dense or case in changed.audited(self._planned, sources.digest(CASES)):
            return self._running.run(case)
        # Without a usable baseline the case makes pictures, and its verdict says why.
        stored = (self.stored([case]) or {}).get(case)
        usable = stored is not None and changed.comparable(stored, self._running.dense.record.quality)
        return self._running.run(case, stored if usable else None)

    def stored(self, cases: Sequence[Case]) -> Mapping[Case, Baseline] | None:
        """Return the baselines of cases in this workload, or None where one of them has none, or a damaged one."""
        baselines: dict[Case, Baseline] = {}
        for case in cases:
            try:
                baseline = self._repository.find(case, self.bench.facts(case).key, self.bench.stack)
            except Damaged:
                # The case's own test says so.
                return None
            if baseline is None:
                return None
            baselines[case] = baseline
        return baselines

    def note(self, text: str) -> None:
        """Print a line when the test has ended, in place of pytest's dot."""
        self._tell(LINE, text)

    def judge(self, outcome: Outcome) -> None:
        """Fail the test where the verdict on a case is red.

        An update of baselines fails only where pictures show nothing and `--accept-degenerate` is not given.
        """
        record, bench = outcome.record, self.bench
        dense = self._running.dense.record
        result = self._judged(record)
        of_dense = result if record.case.is_dense else self._judged(dense)
        facts = (bench.facts(record.case), bench.facts(dense.case))
        told = Told(result, of_dense, facts, tuple(bench.workload.texts), _rows(outcome, self._running.dense))
        self._tell(QUALITY, plain(told))
        if record.case.candidate:
            self.note(candidate_line(record))
        _decide(result)

    def _judged(self, record: Record) -> Result:
        """Return a record with its verdict; in an update of baselines, with the word on storing it."""
        dense, rules = self._running.dense.record, self.settings.rules
        stored = (self.stored([record.case]) or {}).get(record.case)
        known = {name: Measurement(f.value, f.se, f.n) for name, f in stored.quality.items()} if stored else {}
        moved = tuning.changes(record, stored) if stored is not None else ()
        held = holding(dense, record, self.settings.budget)
        if self.settings.update:
            unwanted = record.degenerate if not self.settings.accept_degenerate else 0
            return Result(record, *self._stored(unwanted), baseline=known, holding=held, changes=moved)
        verdict = verdicts.judge(record, self._repository, dense, rules, self.bench.facts(record.case))
        if self.settings.compare_only:
            verdict = tuning.freed(verdict, moved)
        said = self._said(verdict)
        return Result(record, *said, by_effect=verdict.by_effect, baseline=known, holding=held, changes=moved)

    def judge_latency(self, case: Case, ratio: Measurement) -> None:
        """Fail the test where a ratio of latencies has left its baseline.

        Args:
            case: The case.
            ratio: Latency pruned / dense, its standard error, and the number of rounds.
        """
        record = LatencyRecord(case, ratio, self.bench.stack)
        update = self.settings.update
        said = self._stored() if update else self._said(verdicts.judge_latency(record, self._repository))
        result = LatencyResult(record.case, record.ratio, record.stack, *said)
        self._keep_beside_time("latency", plain(record))
        self._tell(LATENCY, plain(result))
        _decide(result)

    def _said(self, verdict: Verdict) -> tuple[str, str, bool, str]:
        """Return the verdict as the fields of a result: word, reason, red, note."""
        settings = self.settings
        word = f"{verdict.kind} ({verdict.gate})" if verdict.gate and not verdict.passed else verdict.kind
        red = verdict.red(settings.ci, settings.allow_improvements, settings.require_power)
        return word, verdict.reason, red and not settings.compare_only, verdict.note

    def _stored(self, unwanted: int = 0) -> tuple[str, str, bool, str]:
        """Return the same fields in an update of baselines. unwanted: how many pictures forbid to store the case."""
        if not unwanted:
            return "stored", "", False, ""
        reason = f"{unwanted} of {len(self.bench.texts)} pictures show nothing. Look at them with --images DIR. "
        reason += "To store the case all the same, add --accept-degenerate"
        return "NOT STORED (degenerate)", reason, True, ""


def _rows(*outcomes: Outcome) -> dict[str, str]:
    """Return id → SHA-256 of the row of pictures, for the cases that made pictures."""
    return {one.record.case.id: digests.of_bytes(one.row) for one in outcomes if one.row}


def _decide(result: Result | LatencyResult) -> None:
    if result.red:
        moved = figures(result.changes) if isinstance(result, Result) else ""
        every = f"\nbaseline → now: {moved}" if moved else ""
        pytest.fail(f"{result.verdict}: {result.reason}{every}", pytrace=False)
