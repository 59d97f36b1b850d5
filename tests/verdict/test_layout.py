"""The text of a baselines file: what is written is read back equal, and what cannot be right is refused by name."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS
from harness.record import Counts
from harness.verdict import layout
from harness.verdict.baseline import Baselines, Entry, Figure, LatencyFigure, MemoryFigure, Provenance
from harness.verdict.repository import Repository
from tests.verdict.made_up import CASE, FACTS, FIRST, KNOWN, STACK, ratio, record

EMPTY = Repository(Path("baselines.json"))
TEXT = layout.render(EMPTY.updated([record()], KNOWN, [ratio()], FIRST).baselines)
KEY = f"{FACTS.key}@{STACK.key}"

positive = some.floats(1e-6, 1e6)
anything = some.floats(-1e9, 1e9)
words = some.text(max_size=20)
digits = some.text(string.hexdigits[:16], min_size=64, max_size=64)


@some.composite
def figures(draw: Callable[..., Any], tolerance: float) -> Figure:
    wide = draw(some.floats(tolerance / 10, tolerance * 9))
    error, count, spread = draw(some.floats(0, 1e3)), draw(some.integers(1, 10**6)), draw(some.floats(0, 9))
    return Figure(draw(anything), error, count, wide, wide / 4, spread)


@some.composite
def provenances(draw: Callable[..., Any]) -> Provenance:
    runs = draw(some.integers(0, 5))
    date = str(draw(some.dates()))
    return Provenance(draw(words), date, draw(words), draw(some.integers(0, 64)), runs, draw(words) if runs else "")


@some.composite
def counts(draw: Callable[..., Any]) -> Counts:
    targeted = draw(some.integers(0, 10**9))
    dense = draw(some.integers(0, 10**12))
    return Counts(
        draw(some.integers(0, 10**9)), targeted, draw(some.integers(0, targeted)), draw(some.floats(0, 1)),
        draw(some.floats(0, 1)), draw(some.floats(0, 1)), dense, draw(some.integers(0, dense)),
    )  # fmt: skip


@some.composite
def baselines(draw: Callable[..., Any]) -> Baselines:
    few, maybe = some.integers(2, 9), some.none() | words
    fields = (*[words] * 3, few, few, positive, few, *[words] * 3, maybe, maybe)
    facts = draw(some.lists(some.builds(WorkloadFacts, *fields), min_size=1, max_size=3))
    workloads = {one.key: one for one in facts}
    stacks = {one.key: one for one in draw(some.lists(some.builds(Stack, *[words] * 8), min_size=1, max_size=3))}
    ids = some.text(string.ascii_letters + string.digits + "-_.+: é漢", min_size=1, max_size=30)
    cases = {}
    for case in draw(some.lists(ids, unique=True, max_size=3)):
        keys = draw(some.lists(some.tuples(*map(some.sampled_from, (sorted(workloads), sorted(stacks)))), unique=True))
        cases[case] = tuple(
            Entry(
                workload, stack,
                {name: draw(figures(metric.tolerance)) for name, metric in METRICS.items() if draw(some.booleans())},
                draw(some.dictionaries(words, counts(), max_size=2)), draw(some.integers(0, 99)),
                draw(some.none() | some.builds(MemoryFigure, some.floats(0, 1e6), some.floats(1e-6, 0.19),
                                               some.integers(1, 99))),
                draw(provenances()), draw(digits),
            )
            for workload, stack in sorted(keys)
        )  # fmt: skip
    ratios = some.builds(LatencyFigure, figures(0.25), provenances())
    latency = draw(some.dictionaries(ids, some.dictionaries(some.sampled_from(sorted(stacks)), ratios), max_size=2))
    return Baselines(cases, workloads, stacks, latency)


@settings(max_examples=60, deadline=None)
@given(baselines())
def test_what_is_written_is_read_back_equal(some_baselines: Baselines) -> None:
    text = layout.render(some_baselines)
    assert layout.parse(text) == some_baselines
    assert layout.render(layout.parse(text)) == text
    assert json.loads(text)["schema"] == layout.SCHEMA


def test_every_figure_has_a_line_of_its_own() -> None:
    lines = TEXT.splitlines()
    for name in record().quality:
        (line,) = [line for line in lines if line.strip().startswith(f'"{name}": ')]
        assert set(json.loads("{" + line.strip().rstrip(",") + "}")[name]) == {"value", "se", "n", "tolerance", "noise"}
    # One more metric costs one more line.
    more = EMPTY.updated([record(values={"ssim": 0.9})], KNOWN, [ratio()], FIRST)
    assert len(layout.render(more.baselines).splitlines()) == len(lines) + 1


def test_the_order_in_which_cases_were_stored_does_not_show() -> None:
    stored = layout.parse(TEXT)
    twice = replace(stored, cases={"b": stored.cases[CASE.id], "a": stored.cases[CASE.id]})
    turned = replace(stored, cases={"a": stored.cases[CASE.id], "b": stored.cases[CASE.id]})
    assert layout.render(twice) == layout.render(turned)


def broken(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> str:
    """Return the text with something changed. change: is given the whole content and the one entry."""
    content = json.loads(TEXT)
    change(content, content["cases"][CASE.id][KEY])
    return json.dumps(content)


def _figure(**values: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda content, entry: entry["quality"]["fid"].update(values)


BROKEN: dict[str, tuple[str, str]] = {
    "empty": ("", "line 1 is no JSON"),
    "cut": (TEXT[: len(TEXT) // 2], "is no JSON"),
    "a list": ("[]", "has schema 'list'"),
    "a number": ("3", "has schema 'int'"),
    "too deep": ("[" * 100_000, "nested too deeply"),
    "merge conflict": (TEXT.replace('  "scenes', '<<<<<<< HEAD\n  "scenes', 1), "is no JSON"),
    "schema 2": (broken(lambda c, e: c.update(schema=2)), "has schema 2, this version reads and writes schema 4"),
    "schema true": (broken(lambda c, e: c.update(schema=True)), "has schema True"),
    "no schema": (broken(lambda c, e: c.pop("schema")), "has schema None"),
    "a case twice": (TEXT.replace('"cases": {', '"cases": {\n  "a": {}, "a": {},'), "the key 'a' occurs twice"),
    "no section": (broken(lambda c, e: c.pop("latency")), "the file lacks latency"),
    "odd section": (broken(lambda c, e: c.update(profiles={})), "the file has profiles, which does not exist"),
    "cases a list": (broken(lambda c, e: c.update(cases=[])), r"cases is \[\], not an object"),
    "case a list": (broken(lambda c, e: c["cases"].update(x=[1])), r"x is \[1\], not an object"),
    "path as a case": (broken(lambda c, e: c["cases"].update({"../x": {}})), "'../x' is no id of a case"),
    "no part": (broken(lambda c, e: e.pop("memory")), f"{CASE.id}.* lacks memory"),
    "odd part": (broken(lambda c, e: e.update(exact={})), f"{CASE.id}.* has exact, which does not exist"),
    "entry null": (broken(lambda c, e: c["cases"][CASE.id].update({KEY: None})), f"{CASE.id}.*: None is no object"),
    "unknown workload": (broken(lambda c, e: c["workloads"].clear()), "workload .* is not described in the file"),
    "unknown stack": (broken(lambda c, e: c["stacks"].clear()), "stack .* is not described in the file"),
    "workload changed": (broken(lambda c, e: c["workloads"][FACTS.key].update(n=65)), "changed by hand"),
    "stack changed": (broken(lambda c, e: c["stacks"][STACK.key].update(torch="3")), "changed by hand"),
    "fact of a type": (broken(lambda c, e: c["workloads"][FACTS.key].update(n="64")), "Expected `int`, got `str`"),
    "unknown metric": (broken(lambda c, e: e["quality"].update(fud=e["quality"]["fid"])), "fud is no metric; known"),
    "NaN": (TEXT.replace('"value": 10.0', '"value": NaN'), "fid: value is nan, not a finite number"),
    "infinite": (TEXT.replace('"value": 10.0', '"value": 1e999'), "fid: value is inf, not a finite number"),
    "null": (broken(_figure(value=None)), "fid: Expected `float`, got `null`"),
    "a text": (broken(_figure(se="0.1")), r"fid: Expected `float`, got `str` - at `\$.se`"),
    "true": (broken(_figure(n=True)), "fid: Expected `int`, got `bool`"),
    "no noise": (broken(lambda c, e: e["quality"]["fid"].pop("noise")), "fid: .*missing required field `noise`"),
    "slip": (broken(_figure(tolerence=1)), "fid has tolerence, which does not exist"),
    "no pictures": (broken(_figure(n=0)), "fid: n is 0; a figure rests on 1 picture or more"),
    "negative error": (broken(_figure(se=-1)), "fid: se -1.0, noise .* must be 0 or more"),
    "negative noise": (broken(_figure(noise=-1e-3)), "noise -0.001 and spread 0.0 must be 0 or more"),
    "no tolerance": (broken(_figure(tolerance=0)), "fid: tolerance 0.0 is not a positive number"),
    "below the noise": (broken(_figure(noise=0.01)), "fid: tolerance 0.02 is under three times the noise 0.01"),
    "absurd": (broken(_figure(tolerance=1e9)), "fid: tolerance 1000000000.0 is more than 10 times"),
    "wide": (broken(_figure(tolerance=0.3)), r"fid: tolerance 0.3 is more than 10 times the 0.025"),
    "degenerate": (broken(lambda c, e: e.update(degenerate=-1)), "degenerate is -1, not a number of pictures"),
    "degenerate true": (broken(lambda c, e: e.update(degenerate=True)), "degenerate is True, not a number"),
    "zeros": (broken(lambda c, e: e["components"]["unet"].update(zeros=1001)), "unet: the counts contradict"),
    "share": (broken(lambda c, e: e["components"]["unet"].update(sparsity_targeted=1.5)), "the counts contradict"),
    "bytes": (broken(lambda c, e: e["components"]["unet"].update(stored_bytes=8001)), "the counts contradict"),
    "no bytes": (broken(lambda c, e: e["components"]["unet"].pop("stored_bytes")), "unet lacks stored_bytes"),
    "memory": (broken(lambda c, e: e["memory"].update(tolerance=50)), "memory: tolerance 50.0 is more than 10 times"),
    "batch": (broken(lambda c, e: e["memory"].update(batch_size=0)), "memory: .* cannot have been measured"),
    "sidecar": (broken(lambda c, e: e.update(sidecar="../../etc")), "sidecar is '../../etc', not a SHA-256"),
    "date": (broken(lambda c, e: e["provenance"].update(date="yesterday")), "provenance: .*'yesterday'"),
    "no reason": (broken(lambda c, e: e["provenance"].pop("reason")), "provenance: .*missing required field `reason`"),
    "latency": (
        broken(lambda c, e: c["latency"][CASE.id][STACK.key]["figure"].update(tolerance=5)),
        f"{CASE.id}: latency .*: tolerance 5.0 is more than 10 times",
    ),
    "latency of nothing": (
        broken(lambda c, e: c["latency"][CASE.id].update({"0" * 16: {}})), "stack '0+' is not described"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_right_is_refused_by_name(name: str) -> None:
    text, message = BROKEN[name]
    assert text != TEXT, "nothing was changed"
    with pytest.raises(ValueError, match=message):
        layout.parse(text)


def test_the_widest_tolerance_that_is_accepted() -> None:
    rule = METRICS["fid"].allowed(record().quality["fid"], solved=True)
    assert layout.parse(broken(_figure(tolerance=layout.WIDEST * rule))).cases
