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


def is_hub_id(name: str) -> bool:
    """Return whether a name looks like `owner/model`, and not like a path."""
    owner, slash, model = name.partition("/")
    return bool(owner.strip(".~") and slash and model) and "/" not in model
