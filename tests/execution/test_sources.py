"""What cached work depends on: the imports decide, so no list can be forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution import sources
from harness.execution.store import CASES, PICTURES


def test_pictures_depend_on_the_writer_and_not_on_what_chose_the_weights() -> None:
    pictures = {name: path for module in PICTURES for name, path in sources.closure(module).items()}
    assert {
        "harness.surgery.masks", "harness.surgery.layers", "harness.generation.generate", "harness.targets.folder",
        "harness.targets.scenes", "harness.metrics.scorers.scenes", "harness.scenes.judges", "harness.execution.bench",
    } <= pictures.keys()  # fmt: skip
    chosen = ("pruners.magnitude", "pruners.select", "harness.pruning", "harness.case", "harness.record")
    judged = ("harness.verdict", "harness.plugin", "harness.report")
    assert not [name for name in pictures if name.startswith((*chosen, *judged))]


def test_cases_depend_on_every_method_and_metric_and_on_no_report() -> None:
    cases = sources.closure(CASES)
    every = {f"pruners.{path.stem}" for path in (sources.ROOT / "pruners").glob("*.py") if path.stem != "__init__"}
    every |= {f"harness.metrics.{path.stem}" for path in (sources.ROOT / "harness" / "metrics").glob("[a-z]*.py")}
    every |= {f"harness.surgery.{path.stem}" for path in (sources.ROOT / "harness" / "surgery").glob("[a-z]*.py")}
    every |= {"harness.pruning.prune", "harness.pruning.calibration"}
    assert every <= cases.keys() and all(sources.closure(module).keys() <= cases.keys() for module in PICTURES)
    assert not [name for name in cases if name.startswith(("harness.report", "harness.verdict", "harness.plugin"))]


@pytest.mark.parametrize(
    ("changed", "pictures", "cases"),
    [
        ("harness/surgery/masks.py", True, True), ("pruners/magnitude.py", False, True),
        ("harness/metrics/ssim.py", True, True), ("harness/report/page.py", False, False),
        ("harness/verdict/judge.py", False, False), ("harness/generation/prompts.py", True, True),
    ],
)  # fmt: skip
def test_a_changed_file_invalidates_what_it_could_change(
    monkeypatch: pytest.MonkeyPatch, changed: str, pictures: bool, cases: bool
) -> None:
    of_file = sources.digests.of_file

    def now() -> list[list[str]]:
        return [[sources.digest.__wrapped__(module) for module in modules] for modules in (PICTURES, (CASES,))]

    before = now()
    place = sources.ROOT / changed
    monkeypatch.setattr(sources.digests, "of_file", lambda path: "changed" if path == place else of_file(path))
    assert [a != b for a, b in zip(now(), before, strict=True)] == [pictures, cases]


def test_a_function_from_outside_counts_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "somebodys.py"
    place.write_text("def prune(weight, stats, levels, seed): return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert sources.outside(["somebodys:prune"]) == [sources.digests.of_file(place)]
    import somebodys  # type: ignore[import-not-found]

    assert sources.outside([somebodys.prune, "pruners.wanda:prune", "harness.metrics.fid:measure"]) == [
        sources.digests.of_file(place)
    ]


def test_imports_for_type_checkers_alone_do_not_count() -> None:
    import ast

    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pruners.wanda\n"
    text += "def f():\n    from harness import clock\n"
    text += "    return 'pruners.magnitude:prune', 'no.place:x', 'harness: a text'\n"
    wanted = ["harness.clock", "pruners.magnitude"]
    assert [name for name in sources._imports(ast.parse(text)) if name != "typing"] == wanted
