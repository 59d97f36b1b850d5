"""Quality against sparsity, a Markdown table per component and method.

    python tools/curve.py RUN [--layers all]

RUN is a file that `pytest benchmarks --json RUN` wrote. The dense model is the first row of each table. A cell is the
value ± one standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.case import LAYERS
from harness.cli.errors import guarded
from harness.cli.parsers import of_tool, path
from harness.report.groups import captions_in, groups, level, value
from harness.results import Results, read


def tables(results: Results, layers: str) -> Iterator[str]:
    """Yield the tables of a run's cases with one choice of layers, line by line."""
    for group in groups(results):
        if group.case.layers != layers:
            continue
        dense = [group.dense] if group.dense is not None else []
        yield f"**{group.title}** (n = {captions_in(group.records)})\n"
        yield f"| sparsity | {' | '.join(metric.label for metric in group.metrics)} |"
        yield "|---" * (1 + len(group.metrics)) + "|"
        for record in [*dense, *group.records]:
            yield f"| {level(record)} | {' | '.join(value(metric, record) for metric in group.metrics)} |"
        yield ""


def command(
    file: str, doc: str | None, lines: Callable[[Results, str], Iterable[str]], arguments: Sequence[str] | None
) -> int:
    """Print what a script makes of a run; return the exit code.

    Args:
        file: The script.
        doc: Its docstring.
        lines: Takes the results and the choice of layers, and returns the lines to print.
        arguments: The command line; None: that of the process.
    """
    parser = of_tool(file, doc)
    parser.add_argument("run", type=path, metavar="RUN")
    parser.add_argument("--layers", choices=LAYERS, default="all")

    def work() -> int:
        options = parser.parse_args(arguments)
        for line in lines(read(options.run), options.layers):
            print(line)
        return 0

    return guarded(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    return command(__file__, __doc__, tables, arguments)


if __name__ == "__main__":
    sys.exit(main())
