"""What one case came to: plain values, so that they travel between processes and into JSON as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from harness.measurement import Measurement


@dataclass(frozen=True)
class Record:
    """The outcome of one run of one case.

    workload: digest of everything that two comparable runs share. exact: keep-mask digest and counts, equal on every
    machine. quality: measurements by name. attributes: composition per attribute. degenerate: pictures that are not
    finite or show nothing. seconds: of pruning and of generation; empty for a case kept from an earlier run.
    peak_megabytes: None where not measured. per_caption: CLIP scores and exact pictures (0, 1) by caption.
    """

    case: str
    workload: str
    exact: dict[str, Any]
    requested: dict[str, float]
    quality: dict[str, Measurement]
    attributes: dict[str, Measurement]
    degenerate: int
    seconds: dict[str, float]
    peak_megabytes: float | None
    peak_of: str
    conditions: dict[str, Any] = field(default_factory=dict)
    per_caption: dict[str, list[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Record:
        """Read what `to_json` gave."""
        parts = {k: {n: Measurement(**m) for n, m in values[k].items()} for k in ("quality", "attributes")}
        return Record(**(values | parts))
