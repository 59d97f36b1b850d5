"""How a wrong line gets into the code: by a patch of a name where it is looked up, or by a line of a function."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
"""Plants one wrong line. Its docstring says in one sentence what the wrong line does."""


def wrong_line(patch: Patch, owner: Any, name: str, right: str, wrong: str) -> None:
    """Replace one piece of a function's source, and put the new function in the place of the old one.

    Args:
        patch: Takes the function back at the end of the test.
        owner: The module or class that holds the function.
        name: The function.
        right: The piece as it is. It must occur once: where the code has changed, the defect must change with it.
        wrong: The piece that replaces it.
    """
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(right) != 1:
        raise LookupError(f"{name} holds {right!r} {source.count(right)} times; plant the defect in today's code")
    made: dict[str, Any] = {}
    exec(compile(source.replace(right, wrong), f"<{name} with a planted defect>", "exec"), function.__globals__, made)
    patch.setattr(owner, name, made[name])
