"""Where the shipped weights of `scenes` are, and the digests that they must have."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import msgspec

from harness import digests, files
from harness.errors import HarnessError, unknown

WEIGHTS = Path(__file__).parent / "weights"
PIPELINE = WEIGHTS / "pipeline"
JUDGES = WEIGHTS / "judges"
REFERENCE = WEIGHTS / "reference" / "reference.safetensors"
# The folders of a weights folder: the pipeline, the two scorers, and the statistics of the reference pictures.
PARTS = ("pipeline", "judges", "reference")
DIGESTS = "digests.json"
_ADVICE = "restore it with `git checkout -- harness/scenes/weights`, or train the model again"


def list_files(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a weights folder, by its path relative to the folder."""
    paths = [path for part in PARTS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): digests.of_file(path) for path in paths}


def sign(folder: Path, part: str) -> None:
    """Record the digests of one part's files in `digests.json`.

    The records of the other parts stay as they are. A file of another part that has no record gets none.

    Args:
        folder: The weights folder.
        part: The part that was just written: a name of `PARTS`.

    Raises:
        HarnessError: The part does not exist or has no files, or a recorded file of another part is missing or has
            changed. `digests.json` is then unchanged.
    """
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    recorded = _recorded(folder) if (folder / DIGESTS).exists() else {}
    present = list_files(folder)
    _compare(folder, {name: digest for name, digest in recorded.items() if _part(name) != part}, present)
    signed = {name: digest for name, digest in present.items() if _part(name) == part or name in recorded}
    if part not in map(_part, signed):
        raise HarnessError(f"{folder / part} holds no files; write the part before you sign it")
    files.write(folder / DIGESTS, json.dumps(signed, indent=1) + "\n")


def check(folder: Path, parts: Collection[str]) -> dict[str, str]:
    """Compare every file of some parts with its recorded digest.

    Args:
        folder: The weights folder.
        parts: Names of `PARTS`.

    Returns:
        Part → one digest of all its files.

    Raises:
        HarnessError: A file is missing, has changed or has no record. The message names the first such file.
    """
    recorded = {name: digest for name, digest in _recorded(folder).items() if _part(name) in parts}
    present = {name: digest for name, digest in list_files(folder).items() if _part(name) in parts}
    _compare(folder, recorded, present)
    for name in present:
        if name not in recorded:
            raise HarnessError(f"{folder / name} is not in {DIGESTS}; remove the file")
    return {part: digests.of_value({k: v for k, v in recorded.items() if _part(k) == part}) for part in parts}


def unchanged(folder: Path, except_for: Collection[str]) -> None:
    """Compare the recorded files of a weights folder with their digests. A folder without records passes.

    Args:
        folder: The weights folder.
        except_for: Paths in the folder; files whose path starts with one of them are not compared.

    Raises:
        HarnessError: A file is missing or has changed. The message names the first such file.
    """
    if (folder / DIGESTS).exists():
        recorded = {n: digest for n, digest in _recorded(folder).items() if not n.startswith(tuple(except_for))}
        _compare(folder, recorded, list_files(folder))


def verified(folder: Path | None = None) -> dict[str, str]:
    """Compare every file of a weights folder (default: the shipped one) with its digest: see `check`."""
    return check(folder or WEIGHTS, PARTS)


def _part(name: str) -> str:
    return name.partition("/")[0]


def _recorded(folder: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((folder / DIGESTS).read_bytes(), type=dict[str, str])
    except (OSError, RecursionError, msgspec.MsgspecError) as error:
        raise HarnessError(f"{folder / DIGESTS} cannot be read ({error}); {_ADVICE}") from error


def _compare(folder: Path, recorded: dict[str, str], present: dict[str, str]) -> None:
    """Raise HarnessError for the first recorded file that is missing or has changed."""
    for name, digest in recorded.items():
        if name not in present:
            raise HarnessError(f"{folder / name} is missing; {_ADVICE}")
        if present[name] != digest:
            raise HarnessError(
                f"{folder / name} has changed: its SHA-256 starts with {present[name][:12]}, {DIGESTS} says "
                f"{digest[:12]}; {_ADVICE}"
            )
