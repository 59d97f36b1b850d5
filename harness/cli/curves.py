"""`prunegate curves`: draw quality against sparsity."""

from __future__ import annotations

import argparse

from harness import files
from harness.case import LAYERS
from harness.cli import places
from harness.cli.parsers import Commands, declare, path
from harness.results import read


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "curves",
        "draw quality against sparsity, as an SVG file",
        "Draw quality against sparsity as an SVG file: a row of panels for every component, a panel for every metric, "
        "and a line for every method. The bars are one standard error.",
        "prunegate curves run.json --out curves.svg",
    )
    parser.add_argument("run_file", type=path, metavar="RUN", help="results: a file of `pytest benchmarks --json`")
    parser.add_argument(
        "--layers", choices=LAYERS, default="all", help="draw the cases that prune these layers (default: all)"
    )
    parser.add_argument(
        "--metrics", metavar="A,B", help="draw these metrics, in this order (default: all metrics of the run)"
    )
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="the SVG file to write")
    places.add_force(parser, "--out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw."""
    from harness.report.curves import draw

    places.check("--out", options.out, places.SVG, [options.run_file], options.force)
    metrics = None if options.metrics is None else list(dict.fromkeys(options.metrics.replace(" ", "").split(",")))
    files.write(options.out, draw(read(options.run_file), options.layers, metrics))
    return 0
