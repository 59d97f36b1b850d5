"""`prunegate unpack`: write the dense pipeline of a packed one."""

from __future__ import annotations

import argparse

from harness.cli.parsers import Commands, declare, path
from harness.cli.progress import say


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "unpack",
        "unpack a pipeline of `prune --packed`",
        "Write the dense pipeline of a folder that `prunegate prune --packed` wrote. Every weight comes back bit for "
        "bit. The new folder is equal to the one that `prunegate prune` writes without --packed.",
        "prunegate unpack packed --out pruned",
    )
    parser.add_argument("folder", type=path, metavar="DIR", help="the packed pipeline")
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="the folder to make for the pipeline")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Unpack."""
    from harness.pruning.packed import unpack

    say(f"saved in {unpack(options.folder, options.out)}")
    return 0
