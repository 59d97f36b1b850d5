"""Results that no model made: what reports and commands read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from harness import digests, files
from harness.case import Case
from harness.facts import Conditions, Stack
from harness.measurement import Measurement
from harness.metrics import METRICS, register
from harness.metrics.metric import Metric, Sample, Values
from harness.png import ACROSS, SIDE, encode
from harness.record import Cost, Counts, Record
from harness.report.album import green_row
from harness.results import LatencyResult, Result, Results
from harness.verdict.dropoff import margins
from harness.verdict.holds import holding, with_holding
from pruners import METHODS, Method
from pruners import register as register_method
from pruners.levels import Level, Pattern

CAPTIONS = 64
STACK = Stack("cpu", "2.13.0", "0.42.0", "5.0.0", "float32", "contiguous", "AttnProcessor")
CONDITIONS = Conditions(STACK, 2, 2, 32, "2.13.0+cpu")
# The metrics of the workload `scenes`, from none to full sparsity.
ENDS = {
    "fid": (17.9, 143.2), "fid_dense": (0.4, 120.0), "clip": (93.4, -2.2), "composition": (0.84, 0.0),
    "drift": (0.0, 100.7),
}  # fmt: skip


def never(sample: Sample) -> Values:
    """Stand in for a metric's function."""
    raise AssertionError("reports measure nothing")


SHARPNESS = Metric(
    "sharpness", "sharpness", "How sharp pictures are, in edges per pixel.", never, "higher", 1, "caption",
    frozenset({"pictures"}), 0.1, 0.01, headline=True, short="edges per pixel",
)  # fmt: skip


def record(case: Case, shift: float = 0.0, ends: dict[str, tuple[float, float]] | None = None) -> Record:
    """Return a record whose figures lie between the ends, by sparsity, and `shift` beside them."""
    asked = sum(case.requested.values()) / max(1, len(case.requested))
    # Every method has a curve of its own.
    lost = asked ** (3 + 0.4 * [*METHODS, "dense"].index(case.method.partition("+")[0]))
    unit = {name: 20 / 10 ** METRICS[name].decimals for name in ends or ENDS}
    values = {name: first + lost * (last - first) + shift for name, (first, last) in (ends or ENDS).items()}
    counts = {
        part: Counts(
            200,
            100,
            round(100 * case.requested.get(part, 0)),
            case.requested.get(part, 0.0),
            0.0,
            0.0,
            8_000_000,
            7_100_000,
        )
        for part in ("text_encoder", "unet")
    }
    return Record(
        case, "0123456789abcdef", "0" * 64, counts,
        {name: Measurement(value, (0.2 + asked) * unit[name], CAPTIONS) for name, value in values.items()},
        {name: [value + (i % 7) - 3 for i in range(CAPTIONS)] for name, value in values.items()},
        0, Cost(6.0, 0.4, 5.04, 55.63), CONDITIONS,
    )  # fmt: skip


def cases(
    component: str, method: str, levels: Sequence[Level], layers: str = "all", target: str = "scenes"
) -> list[Case]:
    """Return a case per level."""
    return [Case(target, component, method, layers, (level,)) for level in levels]


def results(*of: Case, shift: float = 0.0, ends: dict[str, tuple[float, float]] | None = None) -> Results:
    """Return green results of cases, with the dense models of their targets."""
    dense = {case.target: record(Case(case.target), shift, ends) for case in of}
    found = [Result(record(case, shift, ends), "PASS") for case in of]
    return Results(tuple(found), dense=dense, captions=dict.fromkeys(dense, ("a red dog", "two blue cups")))


def answered(made: Results) -> Results:
    """Return results with the answers whether quality holds, as a run has them."""
    told = [replace(r, holding=holding(made.dense[r.record.case.target], r.record, margins())) for r in made.cases]
    return with_holding(replace(made, cases=tuple(told)), margins())


def everything() -> Results:
    """Return results with red ones, a pattern, several components, two targets and latencies."""
    levels = [i / 10 for i in range(1, 10)]
    chosen = [case for method in METHODS for case in cases("unet", method, levels)]
    chosen += cases("text_encoder", "magnitude", levels) + cases("unet", "wanda", [Pattern(2, 4)])
    chosen += cases("unet", "magnitude", [0.3, 0.6], "linear") + cases("unet", "random", [0.3, 0.6], target="mine")
    chosen.append(Case("scenes", "both", "magnitude", "linear", (0.475, 0.35)))
    made = results(*chosen)
    red = replace(made.cases[3], verdict="REGRESSION (quality)", reason="CLIP score 90.1 → 85.2 ± 0.3", red=True)
    latency = LatencyResult(chosen[0], Measurement(1.01, 0.02, 12), STACK, "PASS")
    slow = replace(latency, case=chosen[4], verdict="REGRESSION (latency)", reason="1.0 → 1.6", red=True)
    return replace(made, cases=(*made.cases[:3], red, *made.cases[4:]), latencies=(latency, slow))


def pictured(made: Results, folder: Path, green: bool = False) -> Results:
    """Return results with pictures: write a row of twelve pictures per case, each in a colour of its own.

    Args:
        made: The results.
        folder: The report's folder.
        green: Whether the rows of a green run lie there, too.
    """
    rows = {}
    for i, record in enumerate([*made.dense.values(), *(result.record for result in made.cases)]):
        row = Image.new("RGB", (SIDE * ACROSS, SIDE), (7 * i % 256, 90, 200 - i % 100))
        row.paste((250, 250, 0), (0, 0, SIDE, SIDE))
        content = encode(row)
        files.write(folder / "rows" / f"{record.case.id}.png", content)
        rows[record.case.id] = digests.of_bytes(content)
        if green:
            files.write(green_row(record, folder), encode(Image.new("RGB", row.size, (0, 99, i % 256))))
    captions = dict.fromkeys(made.dense, tuple(f"caption {i}" for i in range(CAPTIONS)))
    return replace(made, rows=rows, captions=captions)


@contextmanager
def registered(metric: Metric | None = None, *methods: Method) -> Iterator[None]:
    """Register a metric and methods as a user does, and forget them again."""
    try:
        if metric:
            register(metric)
        for method in methods:
            register_method(method)
        yield
    finally:
        if metric:
            METRICS.pop(metric.name, None)
        for method in methods:
            METHODS.pop(method.name, None)
