"""The files beside a baselines file: keep masks and paired values of one case, too long for a person to review."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness import digests
from harness.case import Case
from harness.facts import Stack
from harness.record import Trace
from harness.targets.resolve import EMBEDDED
from harness.verdict.baseline import Baseline, Baselines, Entry


@dataclass(frozen=True)
class Sidecar:
    """The content of one file."""

    case: str
    """The id of the case. It makes the content unique, so two cases never share a file."""
    keep: str
    """The digest or the sketch of the keep masks."""
    paired: dict[str, list[float]]
    """Metric → one value per caption or per resample."""
    trace: Trace
    """Numbers of every stage, for the first captions."""


def file_of(target: str) -> str:
    """Return the name of a target's baselines file, where `--baselines` names none. target: its name in ids."""
    return "baselines.json" if target == EMBEDDED else f"baselines.{target}.json"


def folder_of(path: Path) -> Path:
    """Return the folder of a baselines file's sidecars: its name without ".json"."""
    return path.with_name(path.name.removesuffix(".json"))


def name_of(case: str, digest: str) -> str:
    """Return the name of a case's sidecar; digest: the SHA-256 of its content."""
    return f"{case.replace(':', '_')}.{digest[:16]}.json"


def content(case: str, keep: str, paired: Mapping[str, list[float]], trace: Trace) -> bytes:
    """Return the content of a sidecar, one line per metric and stage. Equal values give equal bytes."""
    metrics = _lines(sorted(paired.items()))
    traced = f'"sketch": {json.dumps(trace.sketch)},\n"weights": {json.dumps(trace.weights)},\n'
    traced += f'"stages": {_lines(trace.stages.items())}'
    parts = f'"case": {json.dumps(case)},\n"keep": {json.dumps(keep)},\n"paired": {metrics},\n"trace": {{\n{traced}}}'
    return f"{{{parts}}}\n".encode()


def _lines(numbers: Iterable[tuple[str, list[float]]]) -> str:
    lines = (f"{json.dumps(name)}: {json.dumps(_short(values), allow_nan=False)}" for name, values in numbers)
    return "{\n" + ",\n".join(lines) + "\n}"


def _short(values: list[float]) -> list[float]:
    return [int(value) if value == int(value) else value for value in values]


def names(baselines: Baselines) -> set[str]:
    """Return the names of all sidecars that belong to baselines."""
    return {name_of(case, entry.sidecar) for case, entries in baselines.cases.items() for entry in entries}


def decoded(data: bytes, case: Case, entry: Entry, stack: Stack) -> Baseline:
    """Return one case's baseline.

    Args:
        data: The content of the sidecar.
        case: The case.
        entry: The case's entry in the baselines file.
        stack: The machine and software of the entry.

    Raises:
        ValueError: The sidecar is not the one that was stored, or does not fit the entry.
    """
    if digests.of_bytes(data) != entry.sidecar:
        raise ValueError("is not the file that was stored: its digest is another one")
    try:
        sidecar = msgspec.json.decode(data, type=Sidecar)
    except ValueError as error:
        raise ValueError(f"is no sidecar ({error})") from error
    if sidecar.case != case.id or sidecar.paired.keys() != entry.quality.keys():
        raise ValueError("belongs to another case, or lacks a metric")
    if not re.fullmatch("[0-9a-f]+", sidecar.keep):
        raise ValueError("has keep masks that are not hexadecimal")
    return Baseline(case, entry, stack, sidecar.keep, sidecar.paired, sidecar.trace)
