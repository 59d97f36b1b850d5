"""The result of running one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.metrics.evidence import Evidence
    from harness.record import Record


@dataclass(frozen=True)
class Outcome:
    """The record of a case, and the evidence behind it."""

    record: Record
    """Plain values for verdicts, reports and JSON."""
    evidence: Evidence
    """The data on the pictures that metrics read. Other cases are compared with the dense case's evidence."""
    row: bytes
    """The first twelve pictures side by side, a PNG: a row of the contact sheet."""
    pictures: Tensor | None = None
    """Every picture, uint8 `[n, 3, h, w]`, where the setup keeps pictures; else None."""
