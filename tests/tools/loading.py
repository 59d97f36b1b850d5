"""The scripts of tools/, as modules."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

FOLDER = Path(__file__).parents[2] / "tools"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


class Tool(Protocol):
    """What every script has."""

    __doc__: str | None
    main: Callable[[Sequence[str] | None], int]


def load(name: str) -> Tool:
    """Import a script of tools/, which is no package. It finds its neighbours, as it does when Python runs it."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"tools_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up the types of their fields there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return cast(Tool, module)
