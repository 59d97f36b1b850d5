"""`prunegate compare`: two runs, case by case, paired by caption."""

from __future__ import annotations

import argparse

from harness.cli.parsers import Commands, declare, path
from harness.cli.progress import say
from harness.results import read


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "compare",
        "compare two runs case by case; exit code 1 on a regression",
        "Compare two runs case by case, paired by caption. Exit code 1: a case got worse, is gone, or cannot be "
        "compared; with the variable CI set, also a change that these captions cannot judge. Exit code 2: an error, "
        "such as a file that is missing.",
        "prunegate compare main.json branch.json",
    )
    parser.add_argument(
        "before", type=path, metavar="BEFORE", help="results of the main branch: a file of `pytest benchmarks --json`"
    )
    parser.add_argument("after", type=path, metavar="AFTER", help="results of your branch: another such file")
    parser.add_argument(
        "--markdown", action="store_true", help="print a Markdown table, and leave out the cases that did not change"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from harness.verdict.compare import compare, failed, lines

    rows = compare(read(options.before), read(options.after))
    for line in lines(rows, options.markdown):
        say(line)
    return 1 if failed(rows) else 0
