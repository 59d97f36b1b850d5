"""`prunegate view`: the page of a run, or of two runs side by side."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from harness import files
from harness.cli import places
from harness.cli.parsers import Commands, declare, path
from harness.cli.progress import say
from harness.errors import HarnessError
from harness.results import Results, read

# The folder of a run's pictures, unless --report named another one.
REPORT = "prunegate-report"


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = declare(
        commands,
        "view",
        "write the page of a run, or of two runs side by side",
        "Write the page of a run as one HTML file: figures, curves, and pictures beside the dense model's. With OTHER, "
        "the page shows the figures, curves and pictures of both runs side by side. On a desktop, a browser opens it. "
        "Pictures come from the folder of --report, where a later run replaces them: give each run a folder of its "
        "own, and name both folders here.",
        "prunegate view branch.json main.json --pictures report-branch --pictures report-main",
    )
    parser.add_argument("run_file", type=path, metavar="RUN", help="results: a file of `pytest benchmarks --json`")
    parser.add_argument("other", type=path, nargs="?", metavar="OTHER", help="results of an earlier run")
    parser.add_argument(
        "--pictures", type=path, action="append", metavar="DIR",
        help=f"a folder of --report or --images; repeat for several (default: {REPORT} beside RUN and in this folder)",
    )  # fmt: skip
    parser.add_argument("--out", type=path, metavar="FILE", help="the page to write (default: RUN with the end .html)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    places.add_force(parser, "--out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from harness.report import behind
    from harness.report.page import Pictures, page

    out: Path = options.out or options.run_file.with_suffix(".html")
    inputs = [options.run_file, *([options.other] if options.other else [])]
    places.check("--out", out, places.PAGE, inputs, options.force)
    results, other = read(options.run_file), read(options.other) if options.other else None
    pictures = Pictures(_folders(options.pictures, inputs), other.rows if other else {})
    compared = behind.run(_name(options.other, options.run_file), other, results) if other else None
    text = page(results, pictures, compared)
    files.write(out, text)
    say(f"page: {out}")
    if not _shows_pictures(text):
        say(_without(results))
    if not options.no_browser and _desktop():
        webbrowser.open(out.absolute().as_uri())
    return 0


def _folders(given: list[Path] | None, inputs: list[Path]) -> tuple[Path, ...]:
    for folder in given or ():
        if not folder.is_dir():
            raise HarnessError(f"--pictures {folder} is no folder; name a folder of --report or --images")
    return tuple(given or dict.fromkeys([*(file.parent / REPORT for file in inputs), Path(REPORT)]))


def _name(other: Path, run_file: Path) -> str:
    """Return what the page calls the other run: the name of its file, with the folder where both have one name."""
    return other.stem if other.stem != run_file.stem else str(other.with_suffix(""))


def _shows_pictures(text: str) -> bool:
    return 'class="strip"' in text


def _without(results: Results) -> str:
    if not results.rows:
        return "the page has no pictures: the file does not say which pictures belong to the run"
    return (
        "the page has no pictures: no folder has the pictures of this run. Name one with --pictures DIR; a folder of "
        "--report has the pictures of its last run"
    )


def _desktop() -> bool:
    """Return whether this process can open a browser for a person: not in CI, on a server or in a pipe."""
    shown = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) and sys.stdout.isatty() and not os.environ.get("CI")
