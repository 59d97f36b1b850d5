"""Files that a command may write over: files of the kind that it writes, and no other files without `--force`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import files, results
from harness.errors import HarnessError
from harness.workloads import captions


@dataclass(frozen=True)
class Kind:
    """A kind of file that a command writes."""

    name: str
    """The kind's name in messages, with an article."""
    recognises: Callable[[Path], bool]
    """Whether an existing file is of the kind."""
    example: str
    """A name for such a file."""
    suffix: str = ""
    """The required end of such a file's name; "": any."""


def _subset(path: Path) -> bool:
    try:
        captions.read_subset(path)
    except HarnessError:
        return False
    return True


def _starts(path: Path, content: bytes, within: int) -> bool:
    with path.open("rb") as stream:
        return content in stream.read(within)


def _statistics(path: Path, key: str) -> bool:
    """Return whether a file is safetensors with this name in its metadata."""
    from safetensors import SafetensorError, safe_open

    with contextlib.suppress(SafetensorError), safe_open(path, "np") as stream:
        return key in (stream.metadata() or {})
    return False


def _results(path: Path) -> bool:
    try:
        results.read(path)
    except HarnessError:
        return False
    return True


# As `harness.report.pictures` has it; that module needs Pillow, and help does not.
_GRID = b"PruneGate, contact_grid"
RESULTS = Kind("a file of --json", _results, "run.json")
SUBSET = Kind("a subset of captions", _subset, "subset.json")
SVG = Kind("an SVG file", lambda path: _starts(path, b"<svg", 1000), "curves.svg", ".svg")
# As `harness.report.page` has it; that module needs much that help does not.
_PAGE = b'<meta name="generator" content="PruneGate">'
PAGE = Kind("a page of PruneGate", lambda path: _starts(path, _PAGE, 1000), "run.html", ".html")
SHEET = Kind("a file of --sheet", lambda path: _starts(path, _GRID, 1000), "sheet.png", ".png")
REFERENCE = Kind(
    "a file of `prunegate reference`", lambda path: _statistics(path, "extractor"), "reference.safetensors"
)
CALIBRATION = Kind("a file of --save-calibration", lambda path: _statistics(path, "about"), "statistics.safetensors")


def add_force(parser: argparse.ArgumentParser, option: str) -> None:
    """Declare `--force`, which concerns the option that names the file to write."""
    text = f"let {option} write over a file of another kind, or over a file that the command reads"
    parser.add_argument("--force", action="store_true", help=text)


def check_force(option: str, path: Path | None, force: bool) -> None:
    """Refuse `--force` without the option that it concerns."""
    if force and path is None:
        raise HarnessError(f"--force concerns {option} only; give {option} FILE, or leave --force out")


def check(option: str, path: Path, kind: Kind, inputs: Sequence[Path], force: bool) -> None:
    """Refuse, before any work, a file that cannot be written or is not of the command's own kind.

    Args:
        option: The option that names the file, for the message.
        path: The file to write.
        kind: The kind of file that the command writes.
        inputs: The files that the command reads.
        force: Whether `--force` was given.

    Raises:
        HarnessError: The path is a folder or a device, or nothing can be written there; or, without `--force`, it is an
            input or a file of another kind, or its name says that it is something else.
    """
    files.check_file(option, path, kind.example)
    if force:
        return
    if path.exists():
        if any(place.exists() and path.samefile(place) for place in inputs):
            raise HarnessError(f"{option} {path} is the file that the command reads; name another one, or add --force")
        if not kind.recognises(path):
            raise HarnessError(f"{option} {path} exists and is not {kind.name}; name another file, or add --force")
    if kind.suffix and path.suffix.lower() != kind.suffix:
        raise HarnessError(
            f"{option} {path} does not end in {kind.suffix}, but the command writes {kind.suffix[1:].upper()}; rename "
            "it, or add --force"
        )
