"""`prunegate captions`: fix a subset of a caption file."""

from __future__ import annotations

import argparse

from harness.cli import places
from harness.cli.parsers import Commands, declare, path
from harness.cli.progress import say
from harness.workloads.captions import first, write_subset


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "captions",
        "choose captions from a file, once for all runs",
        "Choose captions from a file, and write the choice to another file. `pytest benchmarks --caption-subset` "
        "reads that file, so that every run uses the same captions. The file holds ids and a digest of the "
        "texts. It does not hold the texts.",
        "prunegate captions captions_val2017.json --captions 256 --out subset.json",
    )
    parser.add_argument(
        "file",
        type=path,
        metavar="FILE",
        help="the captions; .json: COCO annotations, .jsonl: a JSON object per line, other names: a caption per line",
    )
    parser.add_argument("--captions", type=int, required=True, metavar="N", help="number of captions, 1 or more")
    parser.add_argument(
        "--out", type=path, required=True, metavar="FILE", help="the file to write, such as subset.json"
    )
    places.add_force(parser, "--out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the subset."""
    places.check("--out", options.out, places.SUBSET, [options.file], options.force)
    chosen, _ = first(options.file, options.captions)
    write_subset(options.out, chosen)
    say(f"{len(chosen)} captions of {len({caption.image for caption in chosen})} pictures in {options.out}")
    return 0
