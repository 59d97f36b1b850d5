"""A user's own folder: a conftest that loads the gate, one file that adds something, and one test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = 'pytest_plugins = ["harness.plugin"]\nimport mine\n'
TEST = """
import pytest
from harness.case import Case

@pytest.mark.parametrize("case", [{cases}], ids=lambda case: case.id)
def test_quality(case, gate):
    gate.judge(gate.run(case))
"""


class Project:
    """Runs pytest in the user's folder, in processes of their own."""

    def __init__(self, pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
        self.path, self._pytester, self._options = pytester.path, pytester, options

    def run(self, *options: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess(*self._options, *options)

    def command(self, *words: str) -> pytest.RunResult:
        """Run `python -m harness WORDS` in the user's folder."""
        return self._pytester.run(sys.executable, "-m", "harness", *words)

    def stored_then_green(self, *options: str) -> list[pytest.RunResult]:
        """Run without a baseline (red), store one, run again (green); return the three results."""
        first = self.run(*options)
        assert first.ret == 1 and "NO BASELINE" in first.stdout.str(), first.stdout.str()
        stored = self.run(*options, "--update-baselines", "--baseline-reason=mine")
        assert stored.ret == 0, stored.stdout.str()
        again = self.run(*options)
        assert again.ret == 0 and "PASS" in again.stdout.str(), again.stdout.str()
        return [first, stored, again]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Return a function that makes the folder: what `mine.py` holds, the cases as source, options of every run."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")

    def make(mine: str, cases: str, *options: str) -> Project:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(mine=mine, test_mine=TEST.format(cases=cases))
        return Project(pytester, options)

    return make
