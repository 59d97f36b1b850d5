"""`--collect-only`: lists the cases, measures nothing, and imports no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_nothing_is_measured(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG", str(stored.path / "log"))
    found = stored.runpytest_subprocess("--collect-only", "-q", "-k", "magnitude")
    found.stdout.fnmatch_lines(["*scenes-unet-magnitude-all-0.20*", "*scenes-unet-magnitude-all-0.50*"])
    assert not (stored.path / "log").exists()


def test_the_whole_matrix_is_collected_without_torch() -> None:
    code = "import sys, pytest; pytest.main(['benchmarks', '--collect-only', '-q', '--tier', 'full']); "
    code += "print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert lines[-1] == "False" and sum("test_quality[" in line for line in lines) > 300
