"""A small pipeline of the Stable Diffusion 2 family through the gate, with COCO captions and a user's CLIP."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.case import Case
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.run import Caches, run
from harness.facts import WorkloadFacts
from harness.metrics.scorers import clip
from harness.record import Record
from harness.targets import TARGETS
from harness.targets.resolve import resolve
from harness.verdict.baseline import Provenance
from harness.verdict.judge import judge
from harness.verdict.repository import Repository
from harness.verdict.verdict import Verdict
from harness.workloads.user import user
from tests.pipelines import save_clip_scorer, save_coco

DENSE = Case("tiny")
TEXT = Case("tiny", "text_encoder", "magnitude", "all", (0.9,))
CAPTIONS, BLOCK = 24, 16


class UsersGate:
    """Baselines of two cases that were measured without a defect, and verdicts against them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Save captions and a CLIP with dropout in a folder, and measure. patch: holds as long as the gate is used."""
        patch.setitem(TARGETS, "tiny", "tests.pipelines:tiny")
        # The captions are more than one block of the scorer.
        patch.setattr(clip, "BATCH", BLOCK)
        save_coco(folder / "captions.json", 2 * CAPTIONS)
        save_clip_scorer(folder / "scorer", dropout=0.5)
        self._workload = user(
            resolve("tiny"), folder / "captions.json", CAPTIONS, scorer=str(folder / "scorer"), steps=2
        )
        records, facts = self._measured()
        self._baselines = Repository(folder / "baselines.json").updated(
            records, facts, (), Provenance("", "2026-01-01", "without a defect")
        )

    def _measured(self) -> tuple[list[Record], dict[str, WorkloadFacts]]:
        bench = Workbench(Setup(self._workload, "cpu", CAPTIONS))
        caches = Caches.of(bench)
        dense = run(DENSE, bench, None, caches, lambda text: None)
        text = run(TEXT, bench, dense, caches, lambda text: None)
        facts = bench.facts(DENSE)
        return [dense.record, text.record], {facts.key: facts}

    def verdict(self) -> Verdict:
        """Load everything again, with whatever is wrong, and return the first red verdict on the two cases, or PASS."""
        records, _ = self._measured()
        verdicts = [judge(record, self._baselines) for record in records]
        return next((said for said in verdicts if said.red(ci=False, gains_pass=False)), verdicts[-1])
