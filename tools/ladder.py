"""The tables of the ladder of noise: how far every rung of tools/noise.py is from the first one.

    python tools/ladder.py FIRST.json NAME=KIND=OTHER.json …

Prints Markdown: a row per rung and family of methods. `tools/noise.py` measures the rungs and calls this script.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool
from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import Record
from harness.results import read
from harness.verdict.effect import Anchor, effect, is_effect
from harness.verdict.stages import stages
from harness.verdict.statistics import Difference, different_bits

FAMILIES = ("dense", "data-free", "calibrated", "solved")
"""The dense model, and the families of methods: without data, with data, and those that move surviving weights."""
WITHIN, ELSEWHERE = ("one stack",), ("kernels", "torch", "dtype", "GPU", "start noise")
"""Kinds of rungs: those within one stack, and those that stand for another stack."""


@dataclass(frozen=True)
class Pair:
    """One case on the first rung and on another."""

    kind: str
    """The kind of the other rung, of `WITHIN` or `ELSEWHERE`."""
    rung: str
    """The name of the other rung; of all start noises "start noise"."""
    before: Record
    """The case on the first rung."""
    after: Record
    """The case on the other rung."""
    anchor: Anchor
    """The dense model on both."""

    @property
    def family(self) -> str:
        """Return the family of the case's methods."""
        case = self.after.case
        if case.is_dense:
            return "dense"
        return "solved" if case.moves_weights else "calibrated" if case.needs else "data-free"

    def shift(self, metric: Metric) -> float:
        """Return the change of a figure."""
        return self.after.quality[metric.name].value - self.before.quality[metric.name].value

    def changes(self, metric: Metric) -> list[float]:
        """Return the changes per caption or resample."""
        before, after = (record.paired[metric.name] for record in (self.before, self.after))
        return [b - a for a, b in zip(before, after, strict=True)]

    def effect(self, metric: Metric) -> tuple[float, Difference]:
        """Return the effect of pruning on the first rung, and its change."""
        return effect(metric, self.before, self.after, self.anchor)

    @property
    def bits(self) -> float:
        """Return the share of sampled places at which the keep masks differ."""
        differ, of = different_bits(self.before.trace.sketch, self.after.trace.sketch)
        return differ / of if of else 0.0

    @cached_property
    def stages(self) -> dict[str, float]:
        """Return stage → relative distance; of the latents, the farthest."""
        far: dict[str, float] = {}
        for stage in stages(self.before, self.after):
            name = stage.name.partition(" ")[0]
            if name != "masks":
                far[name] = max(stage.moved, far.get(name, 0.0))
        return far


def root(values: Iterable[float]) -> float:
    """Return the root mean square; 0 of nothing."""
    squares = [value**2 for value in values]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0


def pairs(first: Path, others: Sequence[tuple[str, str, Path]]) -> list[Pair]:
    """Return the pairs of all cases that the first rung and another one have.

    Args:
        first: The records of the first rung.
        others: (name, kind, records) of the others.

    Raises:
        HarnessError: A file cannot be read, or lacks the dense model.
    """
    before = {result.record.case: result.record for result in read(first).cases}
    made = []
    for name, kind, file in others:
        after = {result.record.case: result.record for result in read(file).cases}
        dense = next((case for case in after if case.is_dense and case in before), None)
        if dense is None:
            raise HarnessError(f"{file} lacks the dense case; measure it again with the cases `ladder`")
        anchor = Anchor(after[dense], before[dense], "", "", 0.0, 0.0)
        short = "start noise" if kind == "start noise" else name
        made += [Pair(kind, short, before[case], now, anchor) for case, now in after.items() if case in before]
    return made


def tables(made: Sequence[Pair]) -> Iterator[str]:
    """Yield the tables as Markdown."""
    shared = common(made)
    labels = [metric.label for metric in shared]

    def of(value: Callable[[Pair, Metric], Iterable[float]]) -> Callable[[Sequence[Pair]], list[str]]:
        return lambda few: [_short(root(v for p in few for v in value(p, metric))) for metric in shared]

    def spread(pair: Pair, metric: Metric) -> list[float]:
        return pair.changes(metric) if metric.pairing == "caption" else []

    def relative(few: Sequence[Pair]) -> list[str]:
        effects = [[pair.effect(metric) for pair in few] for metric in shared]
        return [_share(root(change.value for _, change in of), root(then for then, _ in of)) for of in effects]

    yield from _table("Shift of the figure: root mean square over cases", labels, made, of(lambda p, m: [p.shift(m)]))
    yield from _table("Change of one picture's value: root mean square over cases and captions", labels, made,
                      of(spread))  # fmt: skip
    pruned = [pair for pair in made if pair.family != "dense"]
    yield from _table("Change of the effect of pruning: root mean square over cases", labels, pruned,
                      of(lambda p, m: [p.effect(m)[1].value]))  # fmt: skip
    yield from _table("The same as a share of the effect's root mean square", labels, pruned, relative)
    parts = ["weights", "text", "latent", "picture", "features", "scores"]
    yield from _table("Masks: largest share of sampled places that differ. Stages: largest distance, relative to the "
                      "stage", ["masks", *parts], made,
                      lambda few: [_short(max(p.bits for p in few)),
                                   *(_short(max(p.stages.get(s, 0.0) for p in few)) for s in parts)])  # fmt: skip


def _table(
    title: str, columns: Sequence[str], made: Sequence[Pair], cells: Callable[[Sequence[Pair]], list[str]]
) -> Iterator[str]:
    yield f"\n**{title}**\n"
    yield f"| rung | methods | cases | {' | '.join(columns)} |"
    yield f"|---|---|---|{'---|' * len(columns)}"
    for rung in dict.fromkeys(pair.rung for pair in made):
        for family in FAMILIES:
            few = [pair for pair in made if pair.rung == rung and pair.family == family]
            if few:
                yield f"| {rung} | {family} | {len(few)} | {' | '.join(cells(few))} |"


def _short(value: float) -> str:
    return f"{value:.2g}" if value else "0"


def _share(moved: float, size: float) -> str:
    return f"{moved / size:.1%}" if size else "–"


def common(made: Sequence[Pair]) -> list[Metric]:
    """Return the metrics that all records have."""
    return [metric for name, metric in METRICS.items() if all(name in pair.before.quality for pair in made)]


def own_effect(metric: Metric, pair: Pair) -> bool:
    """Return whether a pair says something about a metric's effect: the dense model has one only of some metrics."""
    return pair.family != "dense" or not is_effect(metric)


def read_pairs(first: str, others: Sequence[str]) -> list[Pair]:
    """Return the pairs that a command line names.

    Args:
        first: The file of the first rung.
        others: NAME=KIND=FILE of the others. A name may hold "=".

    Raises:
        HarnessError: A text has another form, or a file cannot be read.
    """
    parts = [text.rsplit("=", 2) for text in others]
    for text, part in zip(others, parts, strict=True):
        if len(part) != 3 or part[1] not in (*WITHIN, *ELSEWHERE):
            raise HarnessError(f"{text} is no NAME=KIND=FILE; give a kind of {', '.join((*WITHIN, *ELSEWHERE))}")
    return pairs(Path(first), [(name, kind, Path(file)) for name, kind, file in parts])


def command(
    file: str, doc: str | None, lines: Callable[[Sequence[Pair]], Iterable[str]], arguments: Sequence[str] | None
) -> int:
    """Print what a script makes of the rungs on its command line; return the exit code.

    Args:
        file: The script.
        doc: Its docstring.
        lines: Takes the pairs of records, and returns the lines to print.
        arguments: The command line; None: that of the process.
    """
    parser = of_tool(file, doc)
    parser.add_argument("first", metavar="FIRST.json", help="the records of the first rung")
    parser.add_argument("others", nargs="+", metavar="NAME=KIND=FILE", help="another rung, its kind and its records")

    def work() -> int:
        given = parser.parse_args(arguments)
        print("\n".join(lines(read_pairs(given.first, given.others))))
        return 0

    return guarded(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    return command(__file__, __doc__, tables, arguments)


if __name__ == "__main__":
    sys.exit(main())
