"""The workflows without running them: actions are pinned, permissions are few, times are limited, options exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import commands

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.yml"))
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow(path: Path) -> None:
    flow: dict[Any, Any] = yaml.safe_load(path.read_text())
    assert flow["permissions"] == {"contents": "read"}
    assert {"name", True, "jobs", "concurrency"} <= flow.keys()  # YAML reads the key `on` as true
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 720 and job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            # What a pull request's author chose must not be pasted into a shell.
            assert "${{" not in step.get("run", "")


def test_their_options_exist() -> None:
    checked = 0
    for path in WORKFLOWS:
        # A folded line is one command with the lines before it.
        for line in re.sub(r"\n +(?=--|\$\{)", " ", path.read_text(encoding="utf-8")).splitlines():
            known = None
            if command := re.search(r"/prunegate ([a-z-]+)", line):
                known = commands.of_command(command[1])
            elif "/pytest benchmarks" in line:
                known = commands.of_pytest()
            if known is not None:
                named = commands.named_in(line)
                assert named <= known, f"{path.name}: {', '.join(sorted(named - known))}"
                checked += len(named)
    assert checked > 15


def test_their_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in WORKFLOWS:
        for target in re.findall(r"make ([a-z-]+)", path.read_text(encoding="utf-8")):
            assert f"\n{target}:" in makefile, f"{path.name}: make {target}"
