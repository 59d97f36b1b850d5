"""`--collect-only`: lists the cases, measures nothing, and imports no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_nothing_is_measured(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG", str(stored.path / "log"))
    done = stored.runpytest_subprocess("--collect-only", "-q", "-k", "magnitude", "--json", "out.json")
    done.stdout.fnmatch_lines(["*scenes-unet-magnitude-all-0.20*", "*scenes-unet-magnitude-all-0.50*"])
    assert not (stored.path / "log").exists() and not (stored.path / "out.json").exists()


def test_the_whole_matrix_is_collected_without_torch_in_a_second() -> None:
    code = "import sys, pytest; pytest.main(['benchmarks', '--collect-only', '-q', '--tier', 'full']); "
    code += "print(sorted({'torch', 'diffusers', 'transformers', 'scipy', 'matplotlib'} & sys.modules.keys()))"
    # The best of three: a busy machine slows any of them.
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        *listed, summary, modules = done.stdout.splitlines()
        assert modules == "[]" and sum("test_quality[" in line for line in listed) == 359
        seconds.append(float(re.search(r"in (\d+\.\d+)s", summary)[1]))  # type: ignore[index]
        if seconds[-1] < 1:
            break
    assert min(seconds) < 1
