"""The toy executor with pruned weights: made up, and moved by variables of the environment."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from harness import digests
from harness.case import Case
from harness.errors import HarnessError
from harness.execution.outcome import Outcome
from harness.record import SPARED, Cost, Trace
from tests.plugin.toy import NoEvidence, ToyExecutor, _log, record_of


class ChangingExecutor(ToyExecutor):
    """As the toy. The weights of the case that TOY_CHANGED names differ from those of an earlier session."""

    def submit(self, case: Case, known: str = "") -> Future[Outcome]:
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._changing(case, known))
        except HarnessError as error:
            future.set_exception(error)
        return future

    def _changing(self, case: Case, known: str) -> Outcome:
        weights = digests.of_value([case.id, os.environ.get("TOY_CHANGED") == case.id])
        if weights == known:
            _log(f"spared {case.id}")
            record = replace(record_of(case, self.bench), quality={}, paired={}, degenerate=0)
            evidence: Any = NoEvidence()
            return Outcome(replace(record, cost=Cost(None, None, None, None, SPARED)), evidence, b"")
        outcome = self._run(case)
        return replace(outcome, record=replace(outcome.record, trace=Trace(weights=weights)))
