"""Methods, metrics, families and executors of installed packages: their entry points are registered at the start."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pruners
from harness import execution, metrics
from harness.errors import HarnessError
from harness.metrics.metric import Metric
from harness.targets import families
from harness.targets.families import Family
from pruners import Method

# Group of entry points → the type of its objects, and the function that registers one.
_OBJECTS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "prunegate.methods": (Method, pruners.register),
    "prunegate.metrics": (Metric, metrics.register),
    "prunegate.families": (Family, families.register),
}
# Executors are named, and imported at their first use.
EXECUTORS = "prunegate.executors"
GROUPS = (*_OBJECTS, EXECUTORS)
"""The groups of entry points."""


@cache
def load() -> None:
    """Register the entry points of all installed packages, once per process.

    Raises:
        HarnessError: One cannot be imported, is something else, or has a name that is taken. The message names the
            package.
    """
    for group in GROUPS:
        for point in entry_points(group=group):
            try:
                _register(group, point)
            except HarnessError:
                raise
            except (Exception, SystemExit) as error:
                # The package is a user's and can raise anything.
                raise _refused(group, point, f"cannot be used ({type(error).__name__}: {error})") from error


def _register(group: str, point: EntryPoint) -> None:
    if group == EXECUTORS:
        execution.register(point.name, point.value)
        return
    kind, register = _OBJECTS[group]
    value = point.load()
    if not isinstance(value, kind):
        raise _refused(group, point, f"is a {type(value).__name__}, and a {kind.__name__} is needed")
    register(value)


def _refused(group: str, point: EntryPoint, why: str) -> HarnessError:
    package = point.dist.name if point.dist is not None else "a package"
    return HarnessError(
        f"{package}: the entry point {point.name} = {point.value} of {group} {why}; mend or uninstall {package}"
    )
