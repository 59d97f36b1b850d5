"""How long a cluster takes for the grid of the reference study, in virtual time and in the order of `--executor ray`.

    python tools/cluster.py [--workers 8 64 512] [--captions 10000] [--seconds 0.83]

Prints a line per number of workers: all work / workers, and the simulated time with the shards that `--executor ray`
chooses, with shards of 256 captions, and with whole cases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.matrix import quality_cases
from harness.case import Case
from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool
from harness.components import BOTH
from harness.execution.jobs import Costs, shard_of, units
from harness.execution.queue import simulate

SHARD, BATCH = 256, 32


def grid() -> list[Case]:
    """Return the cases of `--tier full -k "dense or linear"`, the dense one first. The study's grid is among them."""
    every = quality_cases("sd2", BOTH, "full")
    return [case for case in every if case.is_dense or case.layers == "linear"]


def costs(options: argparse.Namespace) -> Costs:
    """Return the times of the command line."""
    return Costs(options.seconds, options.mask, options.solve, options.calibrate, options.measure)


def row(workers: int, options: argparse.Namespace) -> list[str]:
    """Return the cells of a number of workers."""
    cases, captions = grid(), options.captions
    whole = sum(unit.cost for unit in units(cases, captions, captions, costs(options)))
    cells = [str(workers), f"{whole / workers / 3600:.2f} h"]
    chosen = shard_of(len(cases), captions, workers, BATCH)
    for shard in (chosen, min(SHARD, captions), captions):
        time = simulate(units(cases, captions, shard, costs(options)), workers)
        cells.append(f"{time / 3600:.2f} h ({time * workers / whole - 1:+.1%})")
    cells[2] = f"{chosen}: {cells[2]}"
    return cells


def show(options: argparse.Namespace) -> int:
    """Print the table."""
    print(f"| workers | work / workers | chosen shards | shards of {SHARD} | whole cases |")
    print("|---|---|---|---|---|")
    for workers in options.workers:
        print(f"| {' | '.join(row(workers, options))} |", flush=True)
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--workers", type=count, nargs="+", default=[8, 64, 512], metavar="N")
    parser.add_argument("--captions", type=count, default=10000, metavar="N")
    for name, default, what in (
        ("--seconds", 0.83, "of a picture: 83 TFLOP at 100 TFLOP/s"),
        ("--mask", 5.0, "of pruning without data"),
        ("--solve", 120.0, "of pruning with data"),
        ("--calibrate", 120.0, "of a calibration"),
        ("--measure", 20.0, "of the figures of a case"),
    ):
        parser.add_argument(name, type=float, default=default, metavar="S", help=f"{what} (default: {default:g})")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    return guarded(lambda: show(parsed(arguments)))


if __name__ == "__main__":
    sys.exit(main())
