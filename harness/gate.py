"""What a benchmark case holds in its hands: measure a case, then let the verdict be the test's own outcome."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.case import Case

if TYPE_CHECKING:
    from harness.engine import Engine
    from harness.measurement import Measurement
    from harness.record import Record
    from harness.verdict.baselines import Baselines
    from harness.verdict.judge import Verdict


class Gate:
    """One test item's access to the engine. Facts for the report go into the item's user properties."""

    def __init__(
        self,
        engine: Engine,
        baselines: Baselines,
        report: Path,
        images: Path | None,
        store: Path | None,
        updating: bool,
        gains_pass: bool,
        ci: bool,
        properties: MutableSequence[tuple[str, object]],
    ) -> None:
        """images: where every picture is kept, or None. store: where finished cases are kept and looked up, or None.

        updating: no verdict, the figures become the baseline. gains_pass: IMPROVED is not a failure. ci: UNDERPOWERED
        is one.
        """
        self.engine, self.baselines, self.report, self.images = engine, baselines, report, images
        self.store, self.updating, self.gains_pass, self.ci = store, updating, gains_pass, ci
        self.properties = properties
        self.workload: dict[str, Any] = {}

    def measure(self, case: Case) -> Record:
        """Run the case; keep its row of the contact sheet, and all of its pictures if they were asked for."""
        self.workload = self.engine.workload(case)
        record = self._measure(case)
        if case == self.engine.dense_case():
            self.engine.dense_record = record
        return record

    def known(self, case: Case) -> Record:
        """Return the record of a case that this process has measured, or measure it now."""
        if case not in self.engine.records:
            self._measure(case)
        return self.engine.records[case]

    def stored(self, cases: Sequence[Case]) -> dict[Case, Record] | None:
        """Return the baselines of cases as records, or None where one of them has none of this workload."""
        found = {case: self.baselines.record(case.id, self.engine.workload_key(case)) for case in cases}
        known = {case: replace(record, requested=case.requested) for case, record in found.items() if record}
        return known if len(known) == len(found) else None

    def ready(self, case: Case) -> None:
        """Make the dense run that serves every case as the row above, once per process; a dense case is that run."""
        dense = self.engine.dense_case()
        if self.engine.dense_record is None and case != dense:
            self.engine.dense_record = self._measure(dense)

    def _measure(self, case: Case) -> Record:
        from harness import files
        from harness.pipeline import run
        from harness.report.pictures import row_of, save_all
        from harness.store import Shelf

        engine, place = self.engine, self.report / "rows" / f"{case.id}.png"
        shelf = Shelf(self.store, case, engine) if self.store else None
        # Kept cases have no pictures but their row, so whoever asks for all of them has them made.
        kept = shelf.finished() if shelf and not self.images else None
        if kept:
            files.write(place, kept[1])
            engine.records[case] = kept[0]
            return kept[0]
        progress, engine.keeps_pictures = engine.progress, self.images is not None
        engine.progress = lambda text: progress(f"{case.id}: {text}")
        if shelf:
            engine.batches, engine.seen = shelf.batches, None if self.images else shelf.seen
        try:
            done = run(case, engine)
        finally:
            engine.progress, engine.batches, engine.seen = progress, lambda _: None, None
        engine.records[case] = done.record
        row = row_of(done.images) if done.images is not None else shelf.row if shelf else b""
        files.write(place, row)
        if shelf:
            shelf.finish(done.record, done.seen, done.weights, row)
        if self.images and done.images is not None:
            save_all(done.images, engine.captions, self.images / case.id)
        return done.record

    def note(self, text: str) -> None:
        """Have a line printed when the test is done, in place of pytest's dot."""
        self.properties.append(("prunegate-line", text))

    def judge(self, record: Record) -> None:
        """Fail the test where the verdict says so; updating baselines never fails."""
        from harness.verdict.judge import judge

        verdict = judge(record, self.baselines)
        dense = self.engine.dense_record
        facts: dict[str, Any] = {
            "record": record.to_json(),
            "dense": dense.to_json() if dense else None,
            "workload": {record.workload: self.workload},
            "captions": self.engine.captions[:12],
        }
        self._decide(verdict, facts, "prunegate")

    def judge_latency(self, case: Case, ratio: Measurement) -> None:
        """Fail the test where the ratio of latencies, pruned to dense, has left its baseline."""
        from harness.verdict.judge import judge_latency

        verdict = judge_latency(case, ratio, self.engine.conditions(), self.baselines)
        word = self._word(verdict)
        self.note(f"{case.id:<46} latency {ratio.value:.3f} ± {ratio.se:.3f} of dense, {ratio.n} rounds  {word}")
        facts = {"case": case.id, "ratio": asdict(ratio), "conditions": self.engine.conditions()}
        self._decide(verdict, facts, "prunegate-latency")

    def _word(self, verdict: Verdict) -> str:
        if self.updating:
            return "stored"
        return verdict.kind if verdict.passed else f"{verdict.kind} ({verdict.gate})"

    def _decide(self, verdict: Verdict, facts: dict[str, Any], name: str) -> None:
        red = not self.updating and verdict.red(self.ci, self.gains_pass)
        notes = {"verdict": self._word(verdict), "red": red, "note": "" if self.updating else verdict.note}
        notes["reason"] = "" if self.updating else verdict.reason
        self.properties.append((name, facts | notes))
        if red:
            pytest.fail(f"{verdict.kind} ({verdict.gate}): {verdict.reason}", pytrace=False)
