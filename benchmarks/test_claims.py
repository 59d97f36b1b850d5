"""What is claimed of the embedded model: a change of the pruning core that moves a threshold fails here, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.claims import CAPTIONS

if TYPE_CHECKING:
    from harness.gate import Gate
    from harness.verdict.claims import Claim


def test_claim(claim: Claim, gate: Gate, pytestconfig: Any) -> None:
    """The claim holds. Of `scenes`, cases that the session has not measured yet are measured here.

    Of a pipeline of the user's nobody knows whether it holds: it is red where it held of the baselines, and is said
    otherwise. Its cases take long, so a run that lacks one skips the claim.
    """
    from harness import options

    if any(chosen.external and chosen.name == claim.target for chosen in options.targets(pytestconfig)):
        missing = [case.id for case in claim.cases if case not in gate.engine.records]
        if missing:
            pytest.skip(f"the run lacks {len(missing)} of {len(claim.cases)} cases, such as {missing[0]} (--tier full)")
        if not set(claim.metrics) <= gate.engine.records[claim.cases[0]].quality.keys():
            pytest.skip(f"it is about {' and '.join(claim.metrics)}, and FID is to pictures: give --reference")
        line, red = claim.judged(gate.engine.records, gate.stored(claim.cases))
        gate.note(line)
        if red:
            pytest.fail(f"CLAIM REFUTED: {line}", pytrace=False)
        return
    option = pytestconfig.option
    if option.captions != CAPTIONS or option.weights:
        pytest.skip(f"claimed of the shipped weights at {CAPTIONS} captions")
    against = claim.holds({case: gate.known(case) for case in claim.cases})
    gate.note(f"{claim.name:<46} {'REFUTED: ' + against if against else 'holds'} ({claim.source})")
    if against:
        pytest.fail(f"CLAIM REFUTED: {claim.name} ({claim.source}): {against}", pytrace=False)
