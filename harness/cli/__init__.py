"""The command `prunegate`: everything but test runs. To add a command, write one module and one name in `_COMMANDS`.

A module has `add(commands)`, which declares the command, and `run(options) -> int`, which returns the exit code. It
imports torch and the like inside functions, so that help and quick commands stay quick.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from harness import extensions
from harness.cli import (
    captions,
    compare,
    curves,
    explain,
    measure_scenes,
    merge,
    prune,
    reference,
    train_scenes,
    unpack,
    view,
)
from harness.cli.errors import guarded
from harness.cli.parsers import Parser, shown
from harness.errors import HarnessError

_COMMANDS = (prune, unpack, captions, compare, explain, merge, view, curves, reference, measure_scenes, train_scenes)
_EXITS = "exit codes: 0 fine, 1 a regression (compare, merge), 2 an error, 130 interrupted"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = Parser(
        prog="prunegate",
        description="PruneGate's commands. The gate itself is `pytest benchmarks`.\n"
        "`prunegate COMMAND --help` explains a command.",
        epilog=f"{shown('prunegate prune scenes --method magnitude --unet 0.35 --out pruned')}\n\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import your Python module first; it registers methods, metrics or families (repeat for several)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments behind `prunegate`; None: those of this process.

    Returns:
        The exit code: 0 fine, 1 a regression, 2 an error, which is one line on standard error, 130 interrupted.
    """
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    extensions.load()
    for module in options.plugin:
        _import(module)
    code: int = options.run(options)
    return code


def _import(module: str) -> None:
    """Import a user's module, also from the working folder."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        # The module is the user's and can raise anything. Its last line in the traceback says more than our own lines.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f", line {place.lineno} of {place.filename}" if Path(place.filename).stem in module else ""
        raise HarnessError(
            f"--plugin {module} cannot be imported ({type(error).__name__}: {error}{where}); give the name of a Python "
            "module that can be imported"
        ) from error
