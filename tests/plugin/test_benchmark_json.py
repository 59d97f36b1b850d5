"""`--benchmark-json` carries every figure."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def test_benchmark_json_carries_every_figure(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "out.json").assert_outcomes(passed=2)
    entries = json.loads((stored.path / "out.json").read_text())["benchmarks"]
    info = entries[0]["extra_info"]
    assert len(entries) == 2 and info["case"] == "scenes-unet-magnitude-all-0.20"
    assert info["quality"]["fid"] == {"value": 3.0, "se": 0.1, "n": 64}
    assert info["exact"]["components"]["unet"]["zeros"] == 200 and info["seconds"] == {"prune": 0.1, "generate": 0.2}


def test_pytest_benchmark_opens_the_file(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "out.json").assert_outcomes(passed=2)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "out.json", "--columns=median"]
    found = subprocess.run(command, cwd=stored.path, capture_output=True, text=True, check=False)
    assert found.returncode == 0 and "scenes-unet-magnitude-all-0.50" in found.stdout + found.stderr
