"""Where the shipped weights lie, and the digests that the model card promises for them."""

from __future__ import annotations

import json
from pathlib import Path

from harness import digests, files
from harness.errors import HarnessError

WEIGHTS = Path(__file__).parent / "weights"
PIPELINE = WEIGHTS / "pipeline"
JUDGES = WEIGHTS / "judges"
REFERENCE = WEIGHTS / "reference" / "reference.safetensors"
PARTS = ("pipeline", "judges", "reference")
DIGESTS = "digests.json"


def list_files(folder: Path) -> dict[str, str]:
    """Return the digest of every file of the pipeline, the judges and the reference, by path relative to `folder`."""
    parts = [p for part in PARTS for p in sorted((folder / part).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): digests.of_file(p) for p in parts}


def write_digests(folder: Path) -> None:
    """Record the digests of the files that lie under `folder`."""
    files.write(folder / DIGESTS, json.dumps(list_files(folder), indent=1) + "\n")


def verified(folder: Path | None = None) -> dict[str, str]:
    """Check every file against the recorded digests; return one digest per part of `PARTS`.

    Raises HarnessError that names the first file which is missing, changed or not recorded.
    """
    folder = folder or WEIGHTS
    advice = "restore it with `git checkout -- harness/scenes/weights`"
    try:
        wanted: dict[str, str] = dict(json.loads((folder / DIGESTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"{folder / DIGESTS} cannot be read ({error}); {advice}") from error
    found = list_files(folder)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise HarnessError(f"{folder / name} is missing; {advice}")
        if name not in wanted:
            raise HarnessError(f"{folder / name} is not in {DIGESTS}; remove the file")
        if found[name] != wanted[name]:
            raise HarnessError(
                f"{folder / name} has changed: its SHA-256 starts {found[name][:12]}, "
                f"{DIGESTS} says {wanted[name][:12]}; {advice}"
            )
    return {part: digests.of_value({k: v for k, v in wanted.items() if k.startswith(part)}) for part in PARTS}
