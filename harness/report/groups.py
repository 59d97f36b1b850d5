"""Shared by all reports: cases in groups, their metrics, and the text of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.holding import UNDECIDED
from harness.measurement import FEW
from harness.metrics import METRICS, learn
from harness.metrics.metric import Metric
from harness.record import Record

if TYPE_CHECKING:
    from harness.case import Case
    from harness.results import Result, Results

ABSENT = "-"
"""The text of a cell where nothing was measured."""
MOST_CAPTIONS = 100_000
"""The largest number of captions that reports name."""
KEPT = "kept"
"""The text in place of seconds for a case from an earlier run."""


@dataclass(frozen=True)
class Group:
    """Cases that differ in their level only: one table, one contact sheet."""

    results: tuple[Result, ...]
    """The results in the order of their levels; at least one."""
    dense: Record | None
    """The record of the target's dense model, None where it was not measured."""

    @property
    def case(self) -> Case:
        """Return one of the cases. All have its target, component, method, layers and variant."""
        return self.results[0].record.case

    @property
    def records(self) -> list[Record]:
        """Return the records of the cases, without the dense model's."""
        return [result.record for result in self.results]

    @property
    def title(self) -> str:
        """Return a heading that says what is pruned and how."""
        case = self.case
        if case.is_dense:
            return f"{case.target}: the dense model"
        if case.candidate:
            return f"{case.target}: the candidate {case.candidate} in the target's place"
        variant = f", {case.variant}" if case.variant else ""
        return f"{case.target}: {case.component} pruned by {case.method}, {case.layers} layers{variant}"

    @property
    def metrics(self) -> list[Metric]:
        """Return the metrics that the group's cases or their dense model have, in the order of `METRICS`."""
        return metrics_of(self._shown)

    @property
    def columns(self) -> list[Column]:
        """Return the columns of the group's table: see `columns_of`."""
        return columns_of(self._shown)

    @property
    def _shown(self) -> list[Record]:
        return [*self.records, *([self.dense] if self.dense else [])]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    """The heading."""
    meaning: str
    """The meaning of a cell, in a few words."""
    write: Callable[[Record], str]
    """Returns a record's cell."""
    better: str = ""
    """"↓" where a smaller value is better, "↑" where a larger one is, else ""."""
    metric: Metric | None = None
    """The metric of the column; None for counts and costs."""


def columns_of(records: Sequence[Record]) -> list[Column]:
    """Return the columns of a table of records: metrics in the order of `METRICS`, then costs.

    Degenerate pictures have a column where there are any.
    """
    measured = [_of_metric(metric, records) for metric in metrics_of(records)]
    return [*measured, *([DEGENERATE] if any(record.degenerate for record in records) else []), *COSTS]


def _of_metric(metric: Metric, records: Sequence[Record]) -> Column:
    """Return a metric's column. All cells have as many decimals as the records' largest standard error needs."""
    digits = metric.digits(record.quality[metric.name] for record in records if metric.name in record.quality)
    meaning = metric.short or metric.summary.removesuffix(".")
    better = "↓" if metric.lower_is_better else "↑"
    return Column(metric.label, meaning, partial(value, metric, digits=digits), better, metric)


def groups(results: Results) -> list[Group]:
    """Return the cases of a run in groups: by target, then component, method, layers and variant."""
    members: dict[tuple[str, ...], list[Result]] = {}
    for result in results.cases:
        case = result.record.case
        key = case.target, case.component, case.method, case.layers, case.variant
        members.setdefault(key, []).append(result)

    def level(result: Result) -> tuple[tuple[float, ...], str]:
        return tuple(result.record.case.requested.values()), result.record.case.level

    return [Group(tuple(sorted(cases, key=level)), results.dense.get(key[0])) for key, cases in sorted(members.items())]


def metrics_of(records: Iterable[Record]) -> list[Metric]:
    """Return the metrics that at least one record has, in the order of `METRICS`.

    Raises:
        HarnessError: A record has a metric that is not registered: its label and its direction are unknown.
    """
    names = {name for record in records for name in record.quality}
    learn(sorted(names))
    for name in sorted(names - METRICS.keys()):
        raise HarnessError(
            f"metric {name!r} is in the results but not registered; name the module that registers it: "
            "`prunegate --plugin MODULE …`"
        )
    return [metric for name, metric in METRICS.items() if name in names]


def captions_in(records: Iterable[Record]) -> str:
    """Return the number of captions behind records, such as "64" or "16 and 64"; "" where it is unknown."""
    counts = {max(m.n for m in record.quality.values()) for record in records if record.quality}
    return " and ".join(map(str, sorted(counts)))


def level(record: Record) -> str:
    """Return the levels of a record's case, "dense" for the dense model."""
    return "dense" if record.case.is_dense else record.case.level


def few(records: Iterable[Record]) -> str:
    """Return a warning where records were measured over fewer than `FEW` captions, else ""."""
    counts = sorted({max(m.n for m in record.quality.values()) for record in records if record.quality})
    small = [str(count) for count in counts if count < FEW]
    if not small:
        return ""
    return (
        f"n = {' and '.join(small)} is below {FEW}: the figures show whether something has changed. "
        "They do not rank methods, and do not show how good one is"
    )


def value(metric: Metric, record: Record, digits: int | None = None) -> str:
    """Return a metric's figure, `ABSENT` where the record has none. digits: as for `Metric.text`."""
    figure = record.quality.get(metric.name)
    return ABSENT if figure is None else metric.text(figure, digits)


def zeros(record: Record) -> str:
    """Return the share of zeros among the targeted weights of all pruned components."""
    counts = [record.components[component] for component in record.case.components]
    targeted = sum(part.targeted for part in counts)
    return f"{sum(part.zeros for part in counts) / targeted:.1%}" if targeted else ABSENT


def seconds(record: Record) -> str:
    """Return the seconds that generation took, `KEPT` where another run made the pictures, `ABSENT` where none did."""
    if record.spared:
        return ABSENT
    took = record.cost.generate_seconds
    return KEPT if took is None else f"{took:.1f}"


def tensor_megabytes(record: Record) -> str:
    """Return the peak of tensors while generating, in MB."""
    needed = record.cost.tensor_megabytes
    return ABSENT if needed is None else f"{needed:.1f}"


def stored_megabytes(record: Record) -> str:
    """Return the size of all parameters in MB, with zeros stored as a bitmap."""
    return f"{sum(part.stored_bytes for part in record.components.values()) / 1e6:.1f}"


COSTS = (
    Column("zeros", "share of zeros in the pruned layers", zeros),
    Column("s", f"seconds of generating ({KEPT}: with --store)", seconds),
    Column("MB", "peak of tensors while generating", tensor_megabytes),
    Column("stored", "MB of all parameters, zeros as a bitmap", stored_megabytes),
)
"""The columns behind the metrics."""
DEGENERATE = Column("degenerate", "pictures that show nothing", lambda record: str(record.degenerate))
"""The column that a table has where a case has degenerate pictures."""
VERDICTS = "PASS means: no change against the baseline. It does not mean that quality holds"
"""The meaning of PASS."""


HOLDS = "holds"
"""The heading of the column that says whether quality holds."""


def holds(result: Result) -> str:
    """Return the cell of the column `HOLDS`: "yes", "no", "? 400" with the captions that would decide, or ""."""
    held = result.holding
    if held is None:
        return ""
    return f"? {rounded(held.captions)}" if held.answer == UNDECIDED else held.answer


def rounded(captions: int) -> str:
    """Return a number of captions with two digits that count: "380", "8,900", or "> 100,000"."""
    if captions > MOST_CAPTIONS:
        return f"> {MOST_CAPTIONS:,}"
    unit = 10 ** max(0, len(str(captions)) - 2)
    return f"{-(-captions // unit) * unit:,}"


def meaning_of_holds(budget: Mapping[str, float]) -> str:
    """Return the meaning of the column `HOLDS`, with a budget: metric → largest loss; "" where there is none."""
    if not budget:
        return ""
    return (
        f"is every loss against dense at most {losses(budget)}? yes and no: with 95 % certainty; ? 400: about 400 "
        "captions would decide"
    )


def losses(budget: Mapping[str, float]) -> str:
    """Return a budget in words, such as "FID 2, CLIP score 0.5"."""
    return ", ".join(f"{METRICS[name].label} {limit:g}" for name, limit in budget.items())


def held_to(group: Group, results: Results) -> str:
    """Return the sentence on how far quality holds in a group; "" where too few levels were measured."""
    for held in results.held:
        if held.curve == group.case.group:
            upto = f"up to {held.last:.2f}" if held.last else "at no measured sparsity"
            return f"quality holds {upto} (95 % interval {held.low:.2f} to {held.high:.2f})"
    return ""


def columns(shown: Iterable[Group]) -> list[Column]:
    """Return every column that the tables of groups have, each once."""
    names = {column.name: column for group in shown for column in group.columns}
    order = [*(metric.label for metric in METRICS.values()), DEGENERATE.name, *(column.name for column in COSTS)]
    return sorted(names.values(), key=lambda column: order.index(column.name))
