"""The judged results of one run, and the JSON file that keeps them: `--json FILE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness import files
from harness.case import Case
from harness.change import Change
from harness.errors import HarnessError
from harness.facts import Stack
from harness.holding import HeldTo, Holding
from harness.measurement import Measurement
from harness.record import Record

SCHEMA = 1
# No figure of a run is larger, and sums of squares of such figures are finite.
LARGEST = 1e100


@dataclass(frozen=True)
class Result:
    """A case and its verdict."""

    record: Record
    """The measured values."""
    verdict: str
    """"PASS", or another verdict with the gate that decided, such as "REGRESSION (quality)"; "stored" in a run that
    updates baselines."""
    reason: str = ""
    """Why the verdict is not PASS, in one line; "" for PASS."""
    red: bool = False
    """Whether the test failed."""
    note: str = ""
    """What was not compared, and why; sentences are joined by "; "."""
    by_effect: bool = False
    """Whether the case was judged by its effect, because this is not the baseline's stack."""
    baseline: dict[str, Measurement] = field(default_factory=dict)
    """Metric → the baseline's figure, where the case has a baseline of this workload."""
    holding: Holding | None = None
    """Whether quality holds against the dense model: no part of the verdict. None for the dense model."""
    changes: tuple[Change, ...] = ()
    """Every figure beside that of the baseline, whatever the verdict; empty without a baseline."""


@dataclass(frozen=True)
class LatencyResult:
    """A ratio of latencies, pruned / dense, and its verdict."""

    case: Case
    """The case."""
    ratio: Measurement
    """Latency pruned / dense, its standard error, and the number of rounds."""
    stack: Stack
    """The machine and software."""
    verdict: str
    """"PASS", or another verdict with the gate that decided, such as "REGRESSION (latency)"; "stored" in a run that
    updates baselines."""
    reason: str = ""
    """Why the verdict is not PASS, in one line; "" for PASS."""
    red: bool = False
    """Whether the test failed."""
    note: str = ""
    """What was not compared, and why."""


@dataclass(frozen=True)
class Results:
    """All results of one run."""

    cases: tuple[Result, ...] = ()
    """The quality cases, in the order in which they ended."""
    latencies: tuple[LatencyResult, ...] = ()
    """The latency cases, in the order in which they ended."""
    dense: dict[str, Record] = field(default_factory=dict)
    """Target → the record of its dense model, also where `-k` left the dense case out."""
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Target → its captions, in order. Contact sheets show the first ones."""
    rows: dict[str, str] = field(default_factory=dict)
    """Id of a case → SHA-256 of the file with its row of pictures, `rows/ID.png` in the report's folder."""
    budget: dict[str, float] = field(default_factory=dict)
    """Metric → the largest loss against dense at which quality still holds."""
    held: tuple[HeldTo, ...] = ()
    """How far quality holds, for every curve of three levels or more."""
    shard: str = ""
    """"I/N" where the run was one of N shards; else ""."""
    schema: int = SCHEMA
    """Version of the file's layout."""


def write(path: Path, results: Results) -> None:
    """Write results as JSON, whole or not at all. Raises HarnessError where the file cannot be written."""
    files.write(path, msgspec.json.format(msgspec.json.encode(results), indent=1))


def read(path: Path) -> Results:
    """Read the results of a run.

    Args:
        path: A file that `--json` wrote, or one that `--benchmark-json` wrote. The latter holds no verdicts.

    Returns:
        The results, with at least one quality case.

    Raises:
        HarnessError: The file is missing, is something else, is damaged, names a method that is not registered, or
            holds no quality case.
    """
    # The message names no path to write to: the file may be something that its user needs.
    measure = "make one with `pytest benchmarks --json FILE`"
    try:
        content = msgspec.json.decode(files.read(path))
        results = _from_benchmarks(content) if "benchmarks" in content else msgspec.convert(content, Results)
    except HarnessError as error:
        raise HarnessError(
            f"{path}: {error}. Where a module of yours registers it: prunegate --plugin MODULE …"
        ) from error
    except OSError as error:
        raise HarnessError(f"{path} cannot be read ({error.strerror}); {measure}") from error
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        reason = f"nothing in it is called {error}" if isinstance(error, KeyError) else error
        raise HarnessError(f"{path} is no file that --json or --benchmark-json wrote ({reason}); {measure}") from error
    if results.schema != SCHEMA:
        raise HarnessError(f"{path} has schema {results.schema}, this version reads {SCHEMA}; {measure}")
    if not results.cases:
        raise HarnessError(f"{path} holds no quality case; {measure}")
    for record in (*(result.record for result in results.cases), *results.dense.values()):
        fault = _fault(record)
        if not record.case.id.isprintable():
            raise HarnessError(f"{path} is damaged: {record.case.id!r} is no id of a case; {measure}")
        if fault:
            raise HarnessError(f"{path} is damaged: the case {record.case.id} has {fault}; {measure}")
    return results


def _fault(record: Record) -> str:
    """Return the fault of a record in words, "" where there is none."""
    for component in record.case.components:
        if component not in record.components:
            return f"no counts of {component}"
    for component, counts in record.components.items():
        if not 0 <= counts.zeros <= counts.targeted <= counts.parameters:
            return f"counts of {component} that contradict each other"
    if record.degenerate < 0:
        return f"{record.degenerate} degenerate pictures"
    if not set(record.keep) <= set("0123456789abcdef"):
        return "a keep mask that is not written in hexadecimal digits"
    for name, figure in record.quality.items():
        if figure.se < 0 or figure.n < 1 or max(abs(figure.value), figure.se) > LARGEST:
            return f"{name} {figure.value} ± {figure.se}, n = {figure.n}"
    for name, values in record.paired.items():
        if any(abs(value) > LARGEST for value in values):
            return f"a value of {name} that is out of range"
    return ""


def _from_benchmarks(content: dict[str, Any]) -> Results:
    plain_records = [
        entry["extra_info"]["record"] for entry in content["benchmarks"] if "record" in entry["extra_info"]
    ]
    records = [msgspec.convert(values, Record) for values in plain_records]
    dense = {record.case.target: record for record in records if record.case.is_dense}
    return Results(tuple(Result(record, "") for record in records), dense=dense)


def plain(value: object) -> Any:
    """Return a dataclass as JSON values, for other processes and for pytest-benchmark's `extra_info`."""
    return msgspec.to_builtins(value)
