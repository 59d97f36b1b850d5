"""Quality of every method at a few sparsities, as Markdown tables for docs/findings.md.

    python tools/table.py RUN [--layers all] [--levels 0.30,0.50,2:4] [--metrics clip,composition,fid]

RUN is a file that `pytest benchmarks --json RUN` wrote. Prints one table per component and metric. A cell is the value
± one standard error, or empty for a case that the run does not have.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from harness.case import LAYERS, Case
from harness.cli.errors import guarded
from harness.cli.parsers import of_tool, path
from harness.errors import HarnessError, unknown
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import Record
from harness.report.groups import captions_in, metrics_of
from harness.results import Results, read
from pruners import METHODS
from pruners.levels import Pattern

LEVELS = "0.30,0.50,0.60,0.70,0.80,2:4"


def written(text: str) -> str:
    """Return a level as ids write it: 0.5 is 0.50.

    Raises:
        HarnessError: The text is neither a sparsity nor a pattern.
    """
    kept, colon, of = text.partition(":")
    try:
        level = Pattern(int(kept), int(of)) if colon else float(text)
        return Case("any", "unet", "magnitude", "all", (level,)).level
    except (ValueError, HarnessError) as error:
        raise HarnessError(
            f"--levels {text!r} is no sparsity from 0 to 1 and no pattern; give levels such as 0.50,2:4"
        ) from error


def cell(metric: Metric, record: Record | None) -> str:
    """Return the table's cell."""
    return "" if record is None or metric.name not in record.quality else metric.text(record.quality[metric.name])


def tables(results: Results, layers: str, levels: Sequence[str], metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield the tables, line by line.

    Args:
        results: The results of a run.
        layers: A name of `LAYERS`.
        levels: Levels as ids write them: the columns.
        metrics: The metrics. Each has a table of its own.

    Raises:
        HarnessError: The run lacks a target's dense case.
    """
    records = {result.record.case.id: result.record for result in results.cases}
    parts = dict.fromkeys(
        (record.case.target, record.case.component) for record in records.values() if len(record.case.components) == 1
    )
    for target, component in sorted(parts):
        if target not in results.dense:
            raise HarnessError(f"the run lacks the dense case of {target}; run it without -k, or with -k 'dense or …'")
        dense = results.dense[target]
        for metric in metrics:
            of_dense = f"dense {cell(metric, dense)}, n = {captions_in([dense])}"
            yield f"\n**{target}, {component}, {metric.label}** ({of_dense})\n"
            yield f"| method | {' | '.join(levels)} |"
            yield "|---" * (1 + len(levels)) + "|"
            for method in METHODS:
                row = [records.get(f"{target}-{component}-{method}-{layers}-{level}") for level in levels]
                if any(row):
                    yield f"| {method} | {' | '.join(cell(metric, record) for record in row)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("run", type=path, metavar="RUN")
    parser.add_argument("--layers", choices=LAYERS, default="all")
    parser.add_argument("--levels", default=LEVELS, metavar="A,B", help=f"default: {LEVELS}")
    parser.add_argument("--metrics", metavar="A,B", help="default: all that were measured")

    def work() -> int:
        options = parser.parse_args(arguments)
        results = read(options.run)
        names = options.metrics.split(",") if options.metrics else None
        for name in names or ():
            if name not in METRICS:
                raise unknown("--metrics", name, METRICS)
        metrics = [METRICS[name] for name in names] if names else metrics_of(r.record for r in results.cases)
        for line in tables(results, options.layers, [written(text) for text in options.levels.split(",")], metrics):
            print(line)
        return 0

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
