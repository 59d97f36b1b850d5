"""The shape of the code: who may write to what, what crosses package boundaries, and how long a file may get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("harness", "pruners", "benchmarks", "tools") for path in (ROOT / part).rglob("*.py"))
# Nobody but the class itself assigns an attribute of these.
CLOSED = {
    "Workbench": "harness/execution/bench.py",
    "Outcome": "harness/execution/outcome.py",
    "Workload": "harness/workloads/workload.py",
    "Session": "harness/plugin/session.py",
}
# Where a mapping of texts to anything is JSON, a file's content, or the arguments of a pipeline's call.
LOOSE = {
    "harness/results.py:plain": "JSON",
    "harness/plugin/gate.py:__init__": "the extra_info of pytest-benchmark, which is JSON",
    "harness/digests.py:of_value": "JSON",
    "harness/targets/layout.py:content_of": "JSON",
    "harness/targets/families.py:arguments": "a family's call arguments",
    "harness/targets/families.py:encoding": "a family's call arguments",
    "harness/generation/prompts.py:arguments": "a family's call arguments",
}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def attributes_of(name: str, place: str) -> set[str]:
    """Return the attributes of a class: its fields, its properties, and what its methods assign to `self`."""
    (kind,) = (node for node in ast.walk(parsed(ROOT / place)) if isinstance(node, ast.ClassDef) and node.name == name)
    fields = {
        node.target.id for node in kind.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    methods = {node.name for node in kind.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    return fields | methods | {name for name, owner in assigned(kind) if owner == "self"}


def assigned(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (attribute, the expression that it is assigned on) of every assignment, deletion and `setattr`."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called in ("setattr", "delattr", "__setattr__") and len(node.args) >= 2:
                name = node.args[1]
                yield (name.value if isinstance(name, ast.Constant) else "?"), ast.unparse(node.args[0])
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
                    yield part.attr, ast.unparse(part.value)


def outside_writes(path: Path, closed: dict[str, set[str]]) -> list[str]:
    """Return the assignments in a file to attributes of closed classes, other than by `self` in a class."""
    names = set().union(*closed.values())
    return [
        f"{path.name}: {owner}.{name}"
        for name, owner in assigned(parsed(path))
        # argparse hands out a namespace to write options into.
        if (name in names or name == "?") and owner not in ("self", "cls", "namespace")
    ]


@pytest.fixture(scope="module")
def closed() -> dict[str, set[str]]:
    return {name: attributes_of(name, place) for name, place in CLOSED.items()}


def test_nobody_else_writes_to_the_workbench_outcome_workload_or_session(closed: dict[str, set[str]]) -> None:
    assert {"target", "scorer", "device"} <= closed["Workbench"] and "record" in closed["Outcome"]
    assert [write for path in SOURCES for write in outside_writes(path, closed)] == []


@pytest.mark.parametrize(
    "line", ["bench.device = 1", "del outcome.record", "setattr(workload, 'captions', ())", "x.target, y = 1, 2"]
)
def test_a_planted_write_from_outside_is_seen(tmp_path: Path, closed: dict[str, set[str]], line: str) -> None:
    place = tmp_path / "planted.py"
    place.write_text(f"def f(bench, outcome, workload, x):\n    {line}\n")
    assert len(outside_writes(place, closed)) == 1


def loose_signatures(path: Path) -> list[str]:
    """Return the public functions, methods and fields whose types have a mapping of texts to anything."""
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    loose = []
    for node in public(parsed(path)):
        if isinstance(node, ast.AnnAssign):
            name, annotations = ast.unparse(node.target), [node.annotation]
        else:
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            name, annotations = node.name, [a.annotation for a in given if a.annotation]
            annotations += [node.returns] if node.returns else []
        if any(is_loose(ast.unparse(annotation)) for annotation in annotations):
            loose.append(f"{place}:{name}")
    return loose


def is_loose(annotation: str) -> bool:
    plain = annotation.replace(" ", "")
    return any(
        f"{kind}[str,{of}" in plain for kind in ("dict", "Mapping", "MutableMapping") for of in ("Any", "object")
    )


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AnnAssign]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (inner.name == "__init__" or not inner.name.startswith("_")):
                    yield inner
                if isinstance(inner, ast.AnnAssign) and not ast.unparse(inner.target).startswith("_"):
                    yield inner


def test_public_signatures_have_no_mapping_of_anything() -> None:
    loose = {signature for path in SOURCES for signature in loose_signatures(path)}
    assert loose - LOOSE.keys() == set()


def test_a_planted_mapping_of_anything_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "planted.py"
    place.write_text("def f(x: list[dict[str, Any]]) -> int: ...\nclass A:\n    b: Mapping[str, object]\n    c: int\n")
    assert loose_signatures(place) == ["planted.py:f", "planted.py:b"]


def test_no_file_is_long_and_no_override_is_ignored() -> None:
    everything = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in everything}
    assert [name for name, text in texts.items() if text.count("\n") > 300] == []
    mark = "type: ignore[" + "override]"
    assert [name for name, text in texts.items() if mark in text] == []
