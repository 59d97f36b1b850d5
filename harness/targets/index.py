"""What can be said of a pipeline without loading it: what kind of name it has, and which components."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.case import COMPONENTS
from harness.errors import HarnessError


def name_of(target: str) -> str:
    """Return how ids name a pipeline, by its folder or by its hub id: without "-", which parts the fields."""
    name = Path(target).resolve().name if Path(target).exists() else target.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)


def components_of(folder: Path) -> list[str]:
    """Return the components that `model_index.json` lists; without loading any. Raises HarnessError for a bad file."""
    try:
        listed = json.loads((folder / "model_index.json").read_text())
        found = [name for name in COMPONENTS if isinstance(listed.get(name), list) and listed[name][0]]
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise HarnessError(
            f"{folder} has no readable model_index.json ({error}); give a folder of diffusers"
        ) from error
    if not found:
        raise HarnessError(f"{folder / 'model_index.json'} lists none of {', '.join(COMPONENTS)}")
    return found


def check_weights(folder: Path) -> None:
    """See that all weights are whole safetensors files, by their headers alone.

    Raises HarnessError where a component has pickled weights only, which could run code and are not loaded, and where a
    file is cut short.
    """
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        weights = sorted(part.glob("*.safetensors"))
        pickled = [path.name for path in sorted(part.iterdir()) if path.suffix in (".bin", ".ckpt", ".pt", ".pth")]
        if pickled and not weights:
            raise HarnessError(
                f"{part} has its weights as a pickle ({pickled[0]}), which can run code and is not loaded: load the "
                "pipeline where you trust it and save_pretrained(…, safe_serialization=True)"
            )
        for path in weights:
            if not _is_whole(path):
                raise HarnessError(f"{path} is cut short or no safetensors file: copy or download it again")


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return path.stat().st_size == 8 + size + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return False


def is_hub_id(name: str) -> bool:
    """Return whether a name looks like `owner/model`, and not like a path."""
    owner, slash, model = name.partition("/")
    return bool(owner.strip(".~") and slash and model) and "/" not in model
