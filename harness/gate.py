"""What a benchmark case holds in its hands: measure a case, then let the verdict be the test's own outcome."""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import asdict
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

    def ready(self, case: Case) -> None:
        """Make the dense run that serves every case as the row above, once per process; a dense case is that run."""
        dense = self.engine.dense_case()
        if self.engine.dense_record is None and case != dense:
            self.engine.dense_record = self._measure(dense)

    def _measure(self, case: Case) -> Record:
        from harness import files
        from harness.pipeline import run
        from harness.report.pictures import row_of, save_all
        from harness.store import Batches, Store

        place = self.report / "rows" / f"{case.id}.png"
        store = Store(self.store) if self.store else None
        key = store.key(case, self.engine) if store else ""
        # Kept cases have no pictures but their row, so whoever asks for all of them has them made.
        kept = store.get(key) if store and not self.images else None
        if kept:
            files.write(place, kept[1])
            self.engine.records[case] = kept[0]
            opinion = store.opinion(key) if store and case == self.engine.dense_case() else None
            if opinion:
                self.engine.dense = opinion
            return kept[0]
        progress = self.engine.progress
        self.engine.progress = lambda text: progress(f"{case.id}: {text}")
        if self.store:
            folder = self.store
            self.engine.batches = lambda arm: Batches(folder, key, arm)
        try:
            done = run(case, self.engine)
        finally:
            self.engine.progress, self.engine.batches = progress, lambda _: None
        self.engine.records[case] = done.record
        row = row_of(done.images)
        files.write(place, row)
        if store:
            if case == self.engine.dense_case():
                store.put_opinion(key, self.engine.dense)
            store.put(key, done.record, row)
        if self.images:
            save_all(done.images, self.engine.captions, self.images / case.id)
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
