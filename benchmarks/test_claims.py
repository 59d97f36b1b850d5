"""What is claimed of the embedded model: a change of the pruning core that moves a threshold fails here, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.claims import CAPTIONS

if TYPE_CHECKING:
    from harness.gate import Gate
    from harness.verdict.claims import Claim


def test_claim(claim: Claim, gate: Gate, pytestconfig: Any) -> None:
    """The claim holds. Cases that the session has not measured yet are measured here."""
    option = pytestconfig.option
    if option.captions != CAPTIONS or option.weights:
        pytest.skip(f"claimed of the shipped weights at {CAPTIONS} captions")
    against = claim.holds({case: gate.known(case) for case in claim.cases})
    gate.note(f"{claim.name:<46} {'REFUTED: ' + against if against else 'holds'} ({claim.source})")
    if against:
        pytest.fail(f"CLAIM REFUTED: {claim.name} ({claim.source}): {against}", pytrace=False)
