"""`prunegate merge`: the results of all shards of a run, as those of one run."""

from __future__ import annotations

import argparse

from harness.cli import places
from harness.cli.parsers import Commands, declare, path
from harness.cli.progress import say
from harness.results import read, write


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "merge",
        "join the results of all shards of a run; exit code 1 if a case is red",
        "Join the results of `pytest benchmarks --shard I/N --json FILE`. Verdicts stay as the shards gave them. Exit "
        "code 1: a case is red. Exit code 2: an error, such as a shard that is missing.",
        "prunegate merge 1.json 2.json --out run.json",
    )
    parser.add_argument("shards", type=path, nargs="+", metavar="FILE", help="the results of one shard; give all")
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="the file to write")
    places.add_force(parser, "--out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file, and print the tables of the whole run."""
    from harness.report.terminal import tables
    from harness.verdict.merge import merged

    places.check("--out", options.out, places.RESULTS, options.shards, options.force)
    results = merged({path: read(path) for path in options.shards})
    for line in tables(results):
        say(line)
    write(options.out, results)
    say(f"\nresults: {options.out}")
    return int(any(one.red for one in results.cases) or any(one.red for one in results.latencies))
