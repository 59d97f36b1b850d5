"""Every case of the matrix: prune, generate, measure, and compare with the baseline."""

from __future__ import annotations

from typing import Any

from harness.case import Case
from harness.plugin.gate import Gate


def test_quality(case: Case, gate: Gate, benchmark: Any) -> None:
    """The case's exact facts and its quality are those of its baseline."""
    outcome = benchmark.pedantic(gate.run, args=(case,), rounds=1, iterations=1)
    gate.judge(outcome)
