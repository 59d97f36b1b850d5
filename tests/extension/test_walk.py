"""docs/your-own.md, word for word: its files and commands, from a wheel, in an empty folder and environment.

The environment sees the packages of this one, but neither this clone nor its editable install. No network is used.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]
FILES = {
    match[1]: block[match.end() :] for block in BLOCKS if (match := re.match(r"# (\w+\.(?:py|toml))\n", block))
}  # fmt: skip
CASES = ("scenes-unet-centred-all-0.50", "scenes-both-candidate:plain-all-given")


class Clean:
    """An environment that holds what the wheel brings, and an empty folder to work in."""

    def __init__(self, place: Path) -> None:
        self.repository, self._environment, self._wheels = place / "repository", place / "environment", place / "dist"
        self.repository.mkdir()
        python = [sys.executable, "-m", "venv", "--without-pip", str(self._environment)]
        subprocess.run(python, check=True)
        self._pip("wheel", "--no-deps", "-w", str(self._wheels), str(_copy(place)))
        (wheel,) = self._wheels.glob("prunegate-*.whl")
        self.wheel = wheel
        self._pip("install", "--no-deps", str(wheel))
        inside = next(self._environment.glob("lib/python*/site-packages"))
        # A line of a .pth file adds a folder, and does not read that folder's own .pth files.
        (inside / "others.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")

    def run(self, command: str) -> str:
        """Run a command of the page, with fewer captions; return what it prints. Fails where it fails."""
        command = command.replace("--captions 32", "--captions 8")
        program, *words = shlex.split(command)
        if program == "pip":
            return self._pip(*words)
        if program == "pytest":
            words = ["-m", "pytest", *words]
        elif program == "prunegate":
            # The installed command itself.
            return self._done([str(self._environment / "bin" / "prunegate"), *words])
        else:
            assert program == "python", command
        return self._done([str(self._environment / "bin" / "python"), *words])

    def _pip(self, *words: str) -> str:
        # This environment's pip works on the other one, and builds the wheel here. It looks for nothing on the network.
        there = [sys.executable, "-m", "pip"]
        there += [] if words[0] == "wheel" else ["--python", str(self._environment / "bin" / "python")]
        offline = ["--no-index", "--no-build-isolation"]
        return self._done([*there, words[0], "--quiet", "--disable-pip-version-check", *offline, *words[1:]])

    def _done(self, words: list[str]) -> str:
        dropped = ("PYTHONPATH", "CI", "PYTEST_ADDOPTS")
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        done = subprocess.run(words, cwd=self.repository, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _copy(place: Path) -> Path:
    """Return a copy of what the wheel is made of: a build writes beside its sources."""
    clone = place / "PruneGate"
    clone.mkdir()
    for name in ("harness", "pruners"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    return clone


def test_the_page_in_a_clean_environment(tmp_path: Path) -> None:
    assert {"pyproject.toml", "mine.py", "test_quality.py", "foreign.py"} == FILES.keys()
    clean = Clean(tmp_path)
    names = zipfile.ZipFile(clean.wheel).namelist()
    assert "harness/report/templates/page.html.jinja" in names and "harness/scenes/held_out.json" in names
    for name, text in FILES.items():
        (clean.repository / name).write_text(text, encoding="utf-8")
    said: dict[str, str] = {}
    # The wheel is built and installed already.
    for command in COMMANDS[COMMANDS.index("prunegate --help") :]:
        said[command] = clean.run(command)
    where = clean.run("python -c 'import harness, pruners, mine; print(harness.__file__, pruners.__file__)'")
    assert all(path.startswith(str(tmp_path / "environment")) for path in where.split())

    content = json.loads((clean.repository / "run.json").read_text())
    told = {case["record"]["case"]["method"]: case for case in content["cases"]}
    assert set(told) == {"centred", "candidate:plain"} and {case["verdict"] for case in content["cases"]} == {"PASS"}
    assert all("brightness" in case["record"]["quality"] and case["holding"] for case in content["cases"])
    assert content["budget"]["brightness"] == 5.0
    page = (clean.repository / "prunegate-report" / "index.html").read_text(encoding="utf-8")
    assert "brightness" in page and all(f'id="case-{case}"' in page for case in CASES)
    stored = json.loads((clean.repository / "baselines.json").read_text())
    assert set(CASES) <= stored["cases"].keys()
    assert any(path.name.endswith(".safetensors.packed") for path in (clean.repository / "pruned").rglob("*"))
    assert list((clean.repository / "unpacked").glob("unet/*.safetensors"))
    assert "2 PASS" in said["prunegate compare run.json run.json"]


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        ("prunegate.methods", "nowhere:METHOD", r"cannot be used \(ModuleNotFoundError: No module named 'nowhere'\)"),
        ("prunegate.methods", "os:sep", "is a str, and a Method is needed"),
        ("prunegate.metrics", "os:nothing", r"cannot be used \(AttributeError: "),
        ("prunegate.families", "harness.metrics.clip:METRIC", "is a Metric, and a Family is needed"),
    ],
)
def test_an_entry_point_that_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, value: str, message: str
) -> None:
    """Control: a real package on the path, as an installer leaves it."""
    from harness import extensions
    from harness.errors import HarnessError

    information = tmp_path / "mine-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[{group}]\nodd = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        HarnessError, match=f"^mine: the entry point odd = {value} of {group} {message}.*uninstall mine$"
    ):
        extensions.load.__wrapped__()


def test_an_executor_of_a_package_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import extensions
    from harness.execution import EXECUTORS

    information = tmp_path / "mine-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[prunegate.executors]\nelsewhere = mine:Elsewhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("harness.execution.EXECUTORS", dict(EXECUTORS))
    extensions.load.__wrapped__()
    import harness.execution

    assert harness.execution.EXECUTORS["elsewhere"] == "mine:Elsewhere"
