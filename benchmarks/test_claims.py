"""The claims about the methods. A change of the pruning core that moves a threshold fails here, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.claims import CAPTIONS
from harness.targets.resolve import EMBEDDED

if TYPE_CHECKING:
    from harness.plugin.gate import Gate
    from harness.verdict.claims import Claim


def test_claim(claim: Claim, gate: Gate) -> None:
    """The claim holds."""
    if claim.target == EMBEDDED:
        _of_the_embedded_model(claim, gate)
    else:
        _of_a_pipeline(claim, gate)


def _of_the_embedded_model(claim: Claim, gate: Gate) -> None:
    """Fail where a claim about `scenes` does not hold. Cases that have not run yet run now."""
    if gate.settings.captions not in CAPTIONS or gate.settings.target(EMBEDDED).weights:
        pytest.skip(f"the claim is about the shipped weights at {' or '.join(map(str, CAPTIONS))} captions")
    against = claim.holds({case: gate.known(case) for case in claim.cases})
    gate.note(f"{claim.name:<46} {'REFUTED: ' + against if against else 'holds'} ({claim.source})")
    if against and not gate.settings.compare_only:
        pytest.fail(f"CLAIM REFUTED: {claim.name} ({claim.source}): {against}", pytrace=False)


def _of_a_pipeline(claim: Claim, gate: Gate) -> None:
    """Fail where a claim about a user's pipeline held for the baselines and does not hold now.

    Nobody knows beforehand whether the claim holds, so a claim that never held is only reported. Cases of such a
    pipeline take long: a run without one of them skips the claim.
    """
    records = {case: gate.measured(case) for case in claim.cases}
    now = {case: record for case, record in records.items() if record is not None}
    missing = [case.id for case in claim.cases if case not in now]
    if missing:
        pytest.skip(f"the run lacks {len(missing)} of {len(claim.cases)} cases, such as {missing[0]} (--tier full)")
    if not set(claim.metrics) <= now[claim.cases[0]].quality.keys():
        pytest.skip(f"the claim is about {' and '.join(claim.metrics)}, and FID needs pictures: give --reference")
    line, red = claim.judged(now, gate.stored(claim.cases))
    gate.note(line)
    if red and not gate.settings.compare_only:
        pytest.fail(f"CLAIM REFUTED: {line}", pytrace=False)
