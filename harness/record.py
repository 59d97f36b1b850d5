"""What one case came to: plain values, so that they travel between processes and into JSON as they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measurement import Measurement

# In place of what was measured in a run that has ended.
REUSED = "not measured: kept from an earlier run"


@dataclass(frozen=True)
class Record:
    """The outcome of one run of one case.

    workload: digest of everything that two comparable runs share. exact: keep-mask digest and counts, equal on every
    machine. quality: measurements by name. attributes: composition per attribute. degenerate: pictures that are not
    finite or show nothing. seconds: of pruning and of generation; empty for a case kept from an earlier run.
    peak_megabytes: of what `peak_of` says, None where not measured. tensor_megabytes: of the tensors that generation
    itself had at once. parameter_bytes: component → dense, stored. per_caption: CLIP scores, drift and exact pictures
    (0, 1) by caption. resampled: both FIDs of bootstrap resamples, KID of half-samples; the same ones in every case
    with as many captions, so that they pair.
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
    tensor_megabytes: float | None = None
    parameter_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    per_caption: dict[str, list[float]] = field(default_factory=dict)
    resampled: dict[str, list[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Record:
        """Read what `to_json` gave; what another version knew besides is left out."""
        parts = {k: {n: Measurement(**m) for n, m in values[k].items()} for k in ("quality", "attributes")}
        known = {f.name for f in fields(Record)}
        return Record(**{k: v for k, v in (values | parts).items() if k in known})


def read_records(path: Path) -> list[Record]:
    """Read the records of a file that `--benchmark-json` wrote. Raises HarnessError where it holds none."""
    try:
        entries = json.loads(path.read_text())["benchmarks"]
        records = [Record.from_json(entry["extra_info"]) for entry in entries if "quality" in entry["extra_info"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"{path} is not a file that --benchmark-json wrote ({error!r})") from error
    if not records:
        raise HarnessError(f"{path} holds no quality case; run `pytest benchmarks --benchmark-json {path}`")
    return records
