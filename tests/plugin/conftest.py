"""Real pytest sessions on a toy executor: the plugin is the one that ships, what cases come to is made up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CONFTEST = """
import os

import harness.execution
from harness import files
from harness.errors import HarnessError

pytest_plugins = ["harness.plugin"]
harness.execution.register("toy", "tests.plugin.toy:ToyExecutor")

_write = files.write


def killed(path, content):
    if path.name == os.environ.get("TOY_KILLED_AT"):
        os.kill(os.getpid(), 9)
    if path.name == os.environ.get("TOY_REFUSED_AT"):
        raise HarnessError(f"{path} cannot be written (the toy forbids it); name another place")
    _write(path, content)


files.write = killed
"""

CASES = """
import pytest
from harness.case import Case

LEVELS = (0.2, 0.5)

@pytest.mark.parametrize(
    "case",
    [c for m in ("magnitude", "random") for s in LEVELS for c in [Case("scenes", "unet", m, "all", (s,))]],
    ids=lambda case: case.id,
)
def test_quality(case, gate, benchmark):
    gate.judge(benchmark.pedantic(gate.run, args=(case,), rounds=1, iterations=1))
"""

LATENCY = """
import os
from harness.case import Case
from harness.measurement import Measurement

def test_latency(gate):
    case = Case("scenes", "unet", "magnitude", "all", (0.2,))
    gate.judge_latency(case, Measurement(float(os.environ.get("TOY_LATENCY", "1.0")), 0.01, 12))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the toy's conftest and four cases, run in processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeini("[pytest]\naddopts = --executor=toy -p no:hypothesispytest -p no:anyio")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_toy=CASES)
    return pytester


_FIRST: dict[str, bytes] = {}


@pytest.fixture
def stored(project: pytest.Pytester) -> pytest.Pytester:
    """The same, with baselines of all four cases; they are measured once and copied from then on."""
    if not _FIRST:
        project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=4)
        files = [project.path / "baselines.json", *(project.path / "baselines").iterdir()]
        _FIRST.update({str(path.relative_to(project.path)): path.read_bytes() for path in files})
        shutil.rmtree(project.path / "prunegate-report")
    (project.path / "baselines").mkdir(exist_ok=True)
    for name, content in _FIRST.items():
        (project.path / name).write_bytes(content)
    return project


@pytest.fixture
def timed(project: pytest.Pytester) -> pytest.Pytester:
    """A folder with one latency case alone, and its baseline."""
    (project.path / "test_toy.py").unlink()
    project.makepyfile(test_toy_latency=LATENCY)
    project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=1)
    return project


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small pipelines, a scorer, annotations and reference pictures, for real sessions."""
    from tests.plugin.real import build

    folder = tmp_path_factory.mktemp("external")
    build(folder)
    return folder


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines are written here, which is refused in CI."""
    monkeypatch.delenv("CI", raising=False)
