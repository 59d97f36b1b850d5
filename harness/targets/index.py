"""What can be said of a pipeline's folder without loading anything: how ids name it, and which components it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.case import COMPONENTS
from harness.errors import HarnessError


def name_of(folder: Path) -> str:
    """Return how ids name a pipeline's folder: without "-", which parts the fields."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", folder.resolve().name)


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
