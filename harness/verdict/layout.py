"""The text of a baselines file: one line per figure for people, and strict types for the code that reads it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from harness.errors import HarnessError
from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS, learn
from harness.record import Counts
from harness.verdict.baseline import (
    LATENCY_TOLERANCE,
    MEMORY_TOLERANCE,
    Baselines,
    Entry,
    Figure,
    LatencyFigure,
    MemoryFigure,
    Provenance,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 4
# A tolerance above this many times the rule's tolerance (the wider one, for methods that move surviving weights) hides
# changes of several standard errors of the figure. Such a tolerance is a mistake.
WIDEST = 10
_SECTIONS = ("schema", "workloads", "stacks", "latency", "cases")
_PARTS = ("quality", "degenerate", "components", "memory", "sidecar", "provenance")
# Written only where somebody measured or recorded it.
_OPTIONAL = {"noise_runs", "noise_from", "spread", "cpu", "further"}
_Kind = TypeVar("_Kind", bound="DataclassInstance")


def render(baselines: Baselines) -> str:
    """Return the text of a baselines file. Equal baselines give equal bytes."""
    sections = {
        "schema": str(SCHEMA),
        "workloads": {key: _line(facts) for key, facts in sorted(baselines.workloads.items())},
        "stacks": {key: _line(stack) for key, stack in sorted(baselines.stacks.items())},
        "latency": {
            case: {key: _line(figure) for key, figure in sorted(by_stack.items())}
            for case, by_stack in sorted(baselines.latency.items())
        },
        "cases": {
            case: {entry.key: _block(entry) for entry in sorted(entries, key=lambda entry: entry.key)}
            for case, entries in sorted(baselines.cases.items())
        },
    }
    return _indented(sections, "") + "\n"


def _block(entry: Entry) -> dict[str, Any]:
    return {
        "quality": {name: _line(figure) for name, figure in entry.quality.items()},
        "degenerate": _line(entry.degenerate),
        "components": {name: _line(counts) for name, counts in entry.components.items()},
        "memory": _line(entry.memory),
        "sidecar": _line(entry.sidecar),
        "provenance": _line(entry.provenance),
    }


def _line(value: object) -> str:
    """Return a value as JSON on one line."""
    plain = msgspec.to_builtins(value)
    holders = [plain, plain.get("provenance"), plain.get("figure")] if isinstance(plain, dict) else []
    for holder in (one for one in holders if isinstance(one, dict)):
        for name in _OPTIONAL & holder.keys():
            if not holder[name]:
                del holder[name]
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    # Line separators would break the line, and half characters have no UTF-8.
    return text if text.isprintable() else json.dumps(plain, allow_nan=False)


def _indented(tree: Mapping[str, Any], margin: str) -> str:
    """Return nested objects as indented JSON. Their leaves are JSON already."""
    if not tree:
        return "{}"
    inner = margin + " "
    lines = (
        f"{inner}{_line(key)}: {_indented(value, inner) if isinstance(value, dict) else value}"
        for key, value in tree.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def parse(text: str) -> Baselines:
    """Read the text of a baselines file.

    Raises:
        ValueError: The text is no JSON, has another schema, lacks a part, has an unknown part, or holds a value outside
            its range. The message names the value.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("is nested too deeply for a baselines file") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} is no JSON: {error.msg}") from error
    schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if schema != SCHEMA or isinstance(schema, bool):
        raise ValueError(f"has schema {schema!r}, this version reads and writes schema {SCHEMA}")
    _exactly(content, _SECTIONS, "the file")
    workloads = {
        key: _typed(WorkloadFacts, of, f"workload {key}") for key, of in _items(content["workloads"], "workloads")
    }
    stacks = {key: _typed(Stack, of, f"stack {key}") for key, of in _items(content["stacks"], "stacks")}
    for key, own in ({k: of.key for k, of in workloads.items()} | {k: of.key for k, of in stacks.items()}).items():
        if own != key:
            raise ValueError(f"the facts of {key} have the key {own}: one of them was changed by hand")
    latency = {
        _case(case): {
            _known(key, stacks, f"{case}: stack"): _latency(of, f"{case}: latency on {key}")
            for key, of in _items(by_stack, f"{case}: latency")
        }
        for case, by_stack in _items(content["latency"], "latency")
    }
    cases = {
        _case(case): tuple(_entry(case, key, of, workloads, stacks) for key, of in _items(entries, case))
        for case, entries in _items(content["cases"], "cases")
    }
    return Baselines(cases, workloads, stacks, latency)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in one object")
    return content


def _items(content: Any, name: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise ValueError(f"{name} is {content!r:.60}, not an object")
    return content.items()


def _case(name: str) -> str:
    if not name or {"/", "\\", "\0"} & set(name):
        raise ValueError(f"{name!r} is no id of a case")
    return name


def _known(key: str, table: Mapping[str, WorkloadFacts | Stack], what: str) -> str:
    if key not in table:
        raise ValueError(f"{what} {key!r} is not described in the file")
    return key


def _exactly(content: Any, names: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: {content!r:.60} is no object")
    lacking, odd = set(names) - content.keys() - set(optional), content.keys() - set(names)
    if lacking:
        raise ValueError(f"{where} lacks {', '.join(sorted(lacking))}")
    if odd:
        raise ValueError(f"{where} has {', '.join(sorted(odd))}, which does not exist")


def _typed(kind: type[_Kind], value: Any, where: str) -> _Kind:
    """Return a value as its type. It must have exactly the type's fields, and every number must be finite."""
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, float) and not math.isfinite(part):
                raise ValueError(f"{where}: {name} is {part!r}, not a finite number")
    try:
        made = msgspec.convert(value, kind)
    except (ValueError, HarnessError) as error:
        raise ValueError(f"{where}: {error}") from error
    # Compare with the type's fields: msgspec fills in the defaults of fields that the value lacks.
    _exactly(value, [part.name for part in fields(made)], where, _OPTIONAL)
    return made


def _entry(case: str, key: str, value: Any, workloads: Mapping[str, Any], stacks: Mapping[str, Any]) -> Entry:
    workload, _, stack = key.partition("@")
    _known(workload, workloads, f"{case}: workload")
    _known(stack, stacks, f"{case}: stack")
    where = case if len(workloads) == 1 else f"{case} ({key})"
    _exactly(value, _PARTS, where)
    quality = {name: _quality(name, of, where) for name, of in _items(value["quality"], f"{where}: quality")}
    counts = {name: _counts(of, f"{where}: {name}") for name, of in _items(value["components"], f"{where}: components")}
    degenerate, sidecar = value["degenerate"], value["sidecar"]
    if type(degenerate) is not int or degenerate < 0:
        raise ValueError(f"{where}: degenerate is {degenerate!r}, not a number of pictures")
    if not (isinstance(sidecar, str) and len(sidecar) == 64 and set(sidecar) <= set("0123456789abcdef")):
        raise ValueError(f"{where}: sidecar is {sidecar!r:.80}, not a SHA-256")
    memory = None
    if value["memory"] is not None:
        memory = _typed(MemoryFigure, value["memory"], f"{where}: memory")
        _bound(memory.tolerance, MEMORY_TOLERANCE * max(memory.value, 1), f"{where}: memory")
    provenance = _typed(Provenance, value["provenance"], f"{where}: provenance")
    return Entry(workload, stack, quality, counts, degenerate, memory, provenance, sidecar)


def _quality(name: str, value: Any, where: str) -> Figure:
    learn([name])
    if name not in METRICS:
        known = f"known are {', '.join(METRICS)}; a metric of your own is known where its module is imported"
        raise ValueError(f"{where}: {name} is no metric; {known}")
    figure = _typed(Figure, value, f"{where}: {name}")
    # Measured noise may ask for more than the rule.
    _bound(figure.tolerance, max(METRICS[name].allowed(figure, solved=True), 3 * figure.noise), f"{where}: {name}")
    return figure


def _latency(value: Any, where: str) -> LatencyFigure:
    _exactly(value, ("figure", "provenance"), where)
    figure = _typed(Figure, value["figure"], where)
    _bound(figure.tolerance, LATENCY_TOLERANCE, where)
    return LatencyFigure(figure, _typed(Provenance, value["provenance"], f"{where}: provenance"))


def _counts(value: Any, where: str) -> Counts:
    counts = _typed(Counts, value, where)
    shares = (counts.sparsity_targeted, counts.sparsity_component)
    if not (
        0 <= counts.zeros <= counts.targeted
        and counts.parameters >= 0
        and 0 <= counts.stored_bytes <= counts.dense_bytes
        and all(0 <= share <= 1 for share in shares)
        and counts.rounding >= 0
    ):
        raise ValueError(f"{where}: the counts contradict each other")
    return counts


def _bound(tolerance: float, rule: float, where: str) -> None:
    if tolerance > WIDEST * rule:
        raise ValueError(
            f"{where}: tolerance {tolerance!r} is more than {WIDEST} times the {rule:g} that the rule gives, "
            "and would hide every change"
        )
