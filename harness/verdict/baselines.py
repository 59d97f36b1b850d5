"""`baselines.json`: read it strictly, change it only on request, write it whole or not at all.

Beside it lies a folder of the same name with the sidecars: the figures of every caption, which verdicts are paired by.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from harness import digests, files
from harness.errors import HarnessError
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.tolerances import (
    LATENCY_NOISE,
    LATENCY_TOLERANCE,
    LOWER_IS_BETTER,
    MEMORY_TOLERANCE,
    TOLERANCES,
    noise,
    tolerance,
)

SCHEMA = 2
UPDATE = '`pytest benchmarks --update-baselines --baseline-reason "why"`'
# What figures of memory and latency are compared within: other versions or batches need other amounts.
PROFILE = ("device", "torch", "diffusers", "transformers", "batch_size")
# Known of pipelines of the user's alone.
PROFILE_OF_FOLDERS = ("dtype", "memory_format", "attention")
_SIDECAR = re.compile(r".+\.[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class Baselines:
    """The stored baselines.

    cases: id → workload → entry. workloads, profiles: key → what it stands for. latency: case → profile → ratio to
    dense. sidecars: digest → file content, metric → a value per caption or resample.
    """

    path: Path
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    workloads: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, dict[str, Any]] = field(default_factory=dict)
    sidecars: dict[str, bytes] = field(default_factory=dict)

    def record(self, case: str, workload: str) -> Record | None:
        """Return a stored case as far as a verdict needs it, or None where there is none."""
        entry = self.cases.get(case, {}).get(workload)
        if entry is None:
            return None
        paired = json.loads(self.sidecars[entry["sidecar"]])
        quality = {name: Measurement(q["value"], q["se"], q["n"]) for name, q in entry["quality"].items()}
        resampled = {name: values for name, values in paired.items() if name in RESAMPLED}
        per_caption = {name: values for name, values in paired.items() if name not in RESAMPLED}
        return Record(
            case, workload, entry["exact"], {}, quality, {}, entry["degenerate"], {}, None, "stored",
            parameter_bytes=entry["memory"]["parameter_bytes"], per_caption=per_caption, resampled=resampled,
        )  # fmt: skip


# Metrics that have a value per bootstrap resample, not per caption.
RESAMPLED = ("fid", "fid_dense", "kid")


def profile(record: Record) -> dict[str, Any]:
    """Return the profile that a record was measured in."""
    return profile_of(record.conditions)


def profile_of(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile among all conditions of a run; builds of one version of torch (`+cpu`) are not told apart."""
    found = {name: conditions.get(name) for name in PROFILE}
    found["torch"] = str(found["torch"]).partition("+")[0]
    return found | {name: conditions[name] for name in PROFILE_OF_FOLDERS if name in conditions}


def key_of(values: Mapping[str, Any]) -> str:
    """Return the first 16 digits of the digest of a profile."""
    return digests.of_value(values)[:16]


def load(path: Path) -> Baselines:
    """Read and check a baselines file and its sidecars. A missing file is one without cases: each says NO BASELINE.

    Raises HarnessError where a file cannot be read, is of another schema, holds a value that is not finite, or where a
    sidecar is missing or is not the one that was stored.
    """
    advice = f"restore it with `git checkout -- {path.name}`, or move it away and run {UPDATE}"
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Baselines(path)
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
        sidecars = {}
        for case, by_workload in stored["cases"].items():
            for entry in by_workload.values():
                _check(case, entry)
                sidecars[entry["sidecar"]] = _read_sidecar(_folder(path), case, entry)
        for case, by_profile in stored["latency"].items():
            for figure in by_profile.values():
                _check_figure(f"{case}: latency", figure)
        cases, workloads, profiles, latency = (
            dict(stored[name]) for name in ("cases", "workloads", "profiles", "latency")
        )
        return Baselines(path, cases, workloads, profiles, latency, sidecars)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise HarnessError(f"{path} is damaged: {error!r}; {advice}") from error


def _folder(path: Path) -> Path:
    return path.with_suffix("")


def _sidecar_name(case: str, digest: str) -> str:
    return f"{case.replace(':', '_')}.{digest[:16]}.json"


def _read_sidecar(folder: Path, case: str, entry: Mapping[str, Any]) -> bytes:
    path = folder / _sidecar_name(case, entry["sidecar"])
    advice = f"restore it with `git checkout -- {folder.name}`, or measure the case anew: {UPDATE} -k '{case}'"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"the figures per caption of {case} cannot be read ({error}); {advice}") from error
    if digests.of_bytes(content) != entry["sidecar"]:
        raise HarnessError(f"{path} is not what was stored: its digest is not that in {folder.name}.json; {advice}")
    values: dict[str, list[float]] = json.loads(content)
    if values.keys() != entry["quality"].keys() or not all(map(math.isfinite, chain(*values.values()))):
        raise HarnessError(f"{path} lacks a metric, or has a value that is not finite; {advice}")
    return content


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
        _check_figure(f"{case}: {name}", figure)
        if figure["direction"] not in ("lower", "higher"):
            raise ValueError(f"{case}: {name} has direction {figure['direction']!r}")
    for figure in entry["memory"]["tensor_megabytes"].values():
        _check_figure(f"{case}: memory", {"se": 0, "sigma_aa": 0, **figure})
    for counts in entry["memory"]["parameter_bytes"].values():
        int(counts["dense"]), int(counts["stored"])


def _check_figure(what: str, figure: Mapping[str, Any]) -> None:
    for part in ("value", "se", "tolerance", "sigma_aa"):
        if not isinstance(figure[part], int | float) or not math.isfinite(figure[part]):
            raise ValueError(f"{what} has {part} {figure[part]!r}")
    if figure["tolerance"] <= 0 or figure["tolerance"] < 3 * figure["sigma_aa"]:
        raise ValueError(
            f"{what} has tolerance {figure['tolerance']!r}, under three times its noise {figure['sigma_aa']!r}"
        )


def entry(record: Record, provenance: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what is stored of a record, with the tolerances that the rules give.

    old: the entry that it replaces: noise that was measured of this very case, and the memory of other profiles, stay.
    """
    kept = old or {"memory": {"tensor_megabytes": {}}, "quality": {}}
    measured = kept["quality"] if "noise" in kept else {}
    peak: dict[str, Any] = {}
    if record.tensor_megabytes is not None:
        allowed = round(MEMORY_TOLERANCE * record.tensor_megabytes, 3)
        peak[key_of(profile(record))] = {"value": record.tensor_megabytes, "tolerance": allowed}
    found = {
        "exact": record.exact,
        "degenerate": record.degenerate,
        "quality": {
            name: {
                "value": m.value, "se": m.se, "n": m.n,
                "sigma_aa": measured[name]["sigma_aa"] if name in measured else round(noise(name, record), 6),
                "tolerance": tolerance(name, record),
                "direction": "lower" if name in LOWER_IS_BETTER else "higher",
            }
            for name, m in record.quality.items()
        },
        "memory": {
            "parameter_bytes": record.parameter_bytes,
            "tensor_megabytes": {**kept["memory"]["tensor_megabytes"], **peak},
        },
        "sidecar": digests.of_bytes(_sidecar(record)),
        "provenance": {**provenance, "conditions": record.conditions},
    }  # fmt: skip
    return found | ({"noise": kept["noise"]} if "noise" in kept else {})


def _sidecar(record: Record) -> bytes:
    values = sorted({**record.per_caption, **record.resampled}.items())
    lines = (f'"{name}": {json.dumps(of, allow_nan=False)}' for name, of in values)
    return ("{" + ",\n".join(lines) + "}\n").encode()


def merged(
    old: Baselines, records: list[Record], workloads: Mapping[str, Any], provenance: Mapping[str, Any]
) -> Baselines:
    """Return the baselines with the given records put in; all other entries stay as they are."""
    cases = {case: dict(by_workload) for case, by_workload in old.cases.items()}
    sidecars, profiles = dict(old.sidecars), dict(old.profiles)
    for record in records:
        before = cases.setdefault(record.case, {}).get(record.workload)
        new = cases[record.case][record.workload] = entry(record, provenance, before)
        sidecars[new["sidecar"]] = _sidecar(record)
        profiles[key_of(profile(record))] = profile(record)
    used = {key for by_workload in cases.values() for key in by_workload}
    known = {key: value for key, value in {**old.workloads, **workloads}.items() if key in used}
    return replace(old, cases=cases, workloads=known, profiles=profiles, sidecars=sidecars)


def with_latencies(old: Baselines, latencies: Iterable[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Baselines:
    """Return the baselines with ratios of latencies put in; each has case, ratio (value, se, n) and conditions."""
    found, profiles = {case: dict(by_profile) for case, by_profile in old.latency.items()}, dict(old.profiles)
    for facts in latencies:
        values = profile_of(facts["conditions"])
        profiles[key_of(values)] = values
        found.setdefault(facts["case"], {})[key_of(values)] = {
            **facts["ratio"], "sigma_aa": LATENCY_NOISE, "tolerance": LATENCY_TOLERANCE, "provenance": dict(provenance),
        }  # fmt: skip
    return replace(old, latency=found, profiles=profiles)


def write(baselines: Baselines) -> None:
    """Replace the file in one step: a reader, or a kill in the middle, sees the old one or the new one.

    New sidecars are written before it, under names that no stored entry has, and those it no longer names are removed
    after it. Raises HarnessError where the folder cannot be written; the old file is then untouched.
    """
    folder, named = _folder(baselines.path), set()
    for case, by_workload in baselines.cases.items():
        for stored in by_workload.values():
            name = _sidecar_name(case, stored["sidecar"])
            named.add(name)
            if not (folder / name).exists():
                files.write(folder / name, baselines.sidecars[stored["sidecar"]])
    used = {key for by_case in baselines.latency.values() for key in by_case}
    used |= {
        key for by in baselines.cases.values() for stored in by.values() for key in stored["memory"]["tensor_megabytes"]
    }
    content = {
        "schema": SCHEMA,
        "workloads": dict(sorted(baselines.workloads.items())),
        "profiles": {key: value for key, value in sorted(baselines.profiles.items()) if key in used},
        "latency": dict(sorted(baselines.latency.items())),
        "cases": dict(sorted(baselines.cases.items())),
    }
    files.write(baselines.path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    for path in folder.glob("*.json"):
        if _SIDECAR.fullmatch(path.name) and path.name not in named:
            path.unlink()
