"""The workflows, as far as that can be held without running them: pinned, least permissions, a limit on every job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    help_text = (ROOT / "harness" / "options.py").read_text()
    ours = {"--benchmark-json", "--markdown", "--edit-last", "--create-if-none", "--body-file"}
    for path in WORKFLOWS:
        for option in set(re.findall(r"(?<=\s)--[a-z-]+", path.read_text())) - ours:
            assert f'"{option}"' in help_text, f"{path.name}: {option}"
