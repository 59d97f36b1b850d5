"""Every case of the matrix: prune, generate, measure, and compare with the baseline."""

from __future__ import annotations

from typing import Any

from harness.case import Case
from harness.gate import Gate


def test_quality(case: Case, gate: Gate, benchmark: Any) -> None:
    """The case's exact facts and quality are those of its baseline; the time recorded is of the whole case."""
    gate.ready(case)
    record = benchmark.pedantic(gate.measure, args=(case,), rounds=1, iterations=1)
    benchmark.extra_info.update(record.to_json())
    gate.judge(record)
