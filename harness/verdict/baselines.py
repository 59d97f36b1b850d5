"""`baselines.json`: read it strictly, change it only on request, write it whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import HarnessError
from harness.record import Record
from pruners import METHODS, needs

SCHEMA = 1
UPDATE = '`pytest benchmarks --update-baselines --baseline-reason "why"`'

# How far a figure may move in either direction before a case fails, and how far it moves (one standard deviation) with
# other threads and batches when nothing has changed: docs/measurements/noise.md.
TOLERANCES = {"fid": 0.02, "clip": 0.02, "composition": 0.02}
NOISE = {"fid": 2e-4, "clip": 2e-4, "composition": 0.0}
# The same where weights are solved for, from sums whose rounding moves them: FID and CLIP score in standard errors of
# the figure, which grow with it past the drop-off, composition in pictures.
SOLVED_TOLERANCES = {"fid": 0.25, "clip": 0.25, "composition": 3.5}
SOLVED_NOISE = {"fid": 0.04, "clip": 0.04, "composition": 0.7}
LOWER_IS_BETTER = ("fid",)


def tolerance(name: str, record: Record) -> float:
    """Return how far a metric of a case may move in either direction, in its unit."""
    return round(max(TOLERANCES[name], _solved(name, record, SOLVED_TOLERANCES)), 4)


def noise(name: str, record: Record) -> float:
    """Return the standard deviation of a metric of a case when nothing has changed, in its unit."""
    return max(NOISE[name], _solved(name, record, SOLVED_NOISE))


def _solved(name: str, record: Record, table: Mapping[str, float]) -> float:
    method = record.case.split("-")[2]
    if method not in METHODS or needs(method) != "gram":
        return 0.0
    measured = record.quality[name]
    return table[name] / measured.n if name == "composition" else table[name] * measured.se


@dataclass(frozen=True)
class Baselines:
    """The stored baselines. cases: id → workload → entry. workloads: key → what it stands for."""

    path: Path
    workloads: dict[str, Any]
    cases: dict[str, dict[str, Any]]


def load(path: Path) -> Baselines:
    """Read and check a baselines file. A missing file is one without cases: every case then says NO BASELINE.

    Raises HarnessError where the file cannot be read, is of another schema, or holds a value that is not finite.
    """
    advice = f"restore it with `git checkout -- {path.name}`, or move it away and run {UPDATE}"
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Baselines(path, {}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} cannot be read ({error}); {advice}") from error
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise HarnessError(f"{path} is not JSON ({error}); {advice}") from error
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        found = stored.get("schema") if isinstance(stored, dict) else type(stored).__name__
        raise HarnessError(f"{path} has schema {found!r}, wanted {SCHEMA}; {advice}")
    try:
        for case, by_workload in stored["cases"].items():
            for entry in by_workload.values():
                _check(case, entry)
        return Baselines(path, dict(stored["workloads"]), dict(stored["cases"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise HarnessError(f"{path} is damaged: {error!r}; {advice}") from error


def _check(case: str, entry: Mapping[str, Any]) -> None:
    if not {"keep", "components"} <= entry["exact"].keys() or "reason" not in entry["provenance"]:
        raise ValueError(f"{case}: exact facts or provenance are incomplete")
    int(entry["exact"]["keep"], 16)
    for component, counts in entry["exact"]["components"].items():
        if not {"parameters", "targeted", "zeros"} <= counts.keys():
            raise ValueError(f"{case}: {component} lacks a count")
    if not entry["quality"].keys() <= TOLERANCES.keys():
        raise ValueError(f"{case}: the metrics are {sorted(entry['quality'])}, known are {sorted(TOLERANCES)}")
    if not isinstance(entry["degenerate"], int):
        raise ValueError(f"{case}: degenerate is {entry['degenerate']!r}")
    for name, figure in entry["quality"].items():
        for part in ("value", "se", "tolerance"):
            if not isinstance(figure[part], int | float) or not math.isfinite(figure[part]):
                raise ValueError(f"{case}: {name} has {part} {figure[part]!r}")
        if figure["direction"] not in ("lower", "higher"):
            raise ValueError(f"{case}: {name} has direction {figure['direction']!r}")
        if figure["tolerance"] <= 0:
            raise ValueError(f"{case}: {name} has tolerance {figure['tolerance']!r}")


def entry(record: Record, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of a record, with the tolerances that `tolerance` gives."""
    return {
        "exact": record.exact,
        "degenerate": record.degenerate,
        "quality": {
            name: {
                "value": m.value, "se": m.se, "n": m.n, "tolerance": tolerance(name, record),
                "direction": "lower" if name in LOWER_IS_BETTER else "higher",
            }
            for name, m in record.quality.items()
        },
        "provenance": {**provenance, "conditions": record.conditions},
    }  # fmt: skip


def merged(
    old: Baselines, records: list[Record], workloads: Mapping[str, Any], provenance: Mapping[str, Any]
) -> Baselines:
    """Return the baselines with the given records put in; all other entries stay as they are."""
    cases = {case: dict(by_workload) for case, by_workload in old.cases.items()}
    for record in records:
        cases.setdefault(record.case, {})[record.workload] = entry(record, provenance)
    used = {key for by_workload in cases.values() for key in by_workload}
    known = {key: value for key, value in {**old.workloads, **workloads}.items() if key in used}
    return Baselines(old.path, known, cases)


def write(baselines: Baselines) -> None:
    """Replace the file in one step: a reader, or a kill in the middle, sees the old one or the new one.

    Raises HarnessError where the folder cannot be written; the old file is then untouched.
    """
    content = {
        "schema": SCHEMA,
        "workloads": dict(sorted(baselines.workloads.items())),
        "cases": dict(sorted(baselines.cases.items())),
    }
    files.write(baselines.path, json.dumps(content, indent=1, allow_nan=False) + "\n")
