"""The source files that a result depends on: all files that a module imports, directly or through others.

Nobody keeps a list by hand. A module counts if it is imported, or named as "module:function" in a table. Imports for
type checkers alone do not count.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from harness import digests

ROOT = Path(__file__).parents[2]
OURS = ("harness", "pruners")
_PLACE = re.compile(r"((?:harness|pruners)(?:\.\w+)*):\w+")


@cache
def digest(module: str) -> str:
    """Return the SHA-256 of a module's source and of the sources of all our modules that it imports.

    Args:
        module: Dotted name, such as "harness.execution.run".
    """
    paths = sorted(closure(module).values())
    return digests.of_value({path.relative_to(ROOT).as_posix(): digests.of_file(path) for path in paths})


def outside(functions: Iterable[str | Callable[..., object]]) -> list[str]:
    """Return the SHA-256 of every source file outside of our packages that defines one of the functions.

    Args:
        functions: Functions, or texts "module:function".
    """
    paths = set()
    for function in functions:
        name = function.partition(":")[0] if isinstance(function, str) else inspect.unwrap(function).__module__
        if name.partition(".")[0] in OURS:
            continue
        module = __import__(name, fromlist=["_"])
        source = inspect.getsourcefile(module)
        if source is not None:
            paths.add(Path(source))
    return [digests.of_file(path) for path in sorted(paths)]


@cache
def closure(module: str) -> dict[str, Path]:
    """Return module → file, for a module and all our modules that it imports, directly or through others."""
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None or name in files:
            continue
        files[name] = path
        waiting += _imports(ast.parse(path.read_text(encoding="utf-8")))
    return files


def _file(module: str) -> Path | None:
    if module.partition(".")[0] not in OURS:
        return None
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of the modules that a module imports, at any depth, or names as "module:function"."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _file(inner) else node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = _PLACE.fullmatch(node.value)
            if place:
                yield place[1]


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that runs. The body of `if TYPE_CHECKING` does not run."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)
