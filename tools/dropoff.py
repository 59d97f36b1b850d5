"""The drop-off of every method, as a Markdown table.

    python tools/dropoff.py RUN [--layers all]

RUN is a file that `pytest benchmarks --json RUN` wrote. Quality holds while FID and CLIP score are worse than the dense
model's by at most the margins of the reference study, paired by caption.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from curve import command

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.report.groups import captions_in, groups
from harness.results import Results
from harness.verdict.dropoff import STUDIED, curve, dropoff, margins
from pruners.levels import Pattern

# A curve of fewer levels has no drop-off.
FEWEST = 3


def table(results: Results, layers: str) -> Iterator[str]:
    """Yield the table of a run's cases with one choice of layers, line by line.

    Raises:
        HarnessError: The run lacks a target's dense case, or a case has no paired values.
    """
    told = ", ".join(f"{METRICS[name].label} {margin:g}" for name, margin in margins(STUDIED).items())
    yield f"n = {captions_in(result.record for result in results.cases)}, margins: {told}\n"
    yield "| target | component | method | last level that holds | 95 % interval | steep from |"
    yield "|---" * 6 + "|"
    for group in groups(results):
        case = group.case
        points = [
            record
            for record in group.records
            if not any(isinstance(level, Pattern) for level in record.case.levels)
            and len(set(record.case.requested.values())) == 1
        ]
        if case.layers != layers or len(points) < FEWEST:
            continue
        if group.dense is None:
            raise HarnessError(
                f"the run lacks the dense case of {case.target}; run it without -k, or with -k 'dense or …'"
            )
        d = dropoff(curve(group.dense, points))
        where = f"{case.target} | {case.component} | {case.method}"
        yield f"| {where} | {d.last:g} | {d.low:g} – {d.high:g} | {d.knee:g} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    return command(__file__, __doc__, table, arguments)


if __name__ == "__main__":
    sys.exit(main())
