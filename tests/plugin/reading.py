"""What a baselines file of the toy holds."""

from __future__ import annotations

from pathlib import Path

from harness.verdict.baseline import Entry
from harness.verdict.repository import Repository


def entries(path: Path) -> dict[str, Entry]:
    """Return id → entry of a file whose cases have one entry each."""
    return {case: entry for case, (entry,) in Repository.open(path).baselines.cases.items()}
