"""`--benchmark-json` carries every figure, and a user's test needs no line for that."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.plugin.conftest import LATENCY


def test_benchmark_json_carries_every_figure(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "new/out.json").assert_outcomes(passed=2)
    entries = json.loads((stored.path / "new" / "out.json").read_text())["benchmarks"]
    record = entries[0]["extra_info"]["record"]
    assert len(entries) == 2 and record["case"]["levels"] == [0.2] and record["case"]["method"] == "magnitude"
    assert record["quality"]["fid"] == {"value": 3.0, "se": 0.1, "n": 64}
    assert record["components"]["unet"]["zeros"] == 200
    assert record["cost"]["seconds"] == 0.3 and record["cost"]["generate_seconds"] == 0.2


def test_a_red_case_is_there_too(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    stored.runpytest_subprocess("-k", "magnitude and 0.50", "--benchmark-json", "out.json").assert_outcomes(failed=1)
    (entry,) = json.loads((stored.path / "out.json").read_text())["benchmarks"]
    assert entry["extra_info"]["record"]["quality"]["fid"]["value"] == 7.0


def test_the_time_of_the_first_case_is_not_that_of_the_dense_model(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SLOW_DENSE", "1")
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "out.json").assert_outcomes(passed=2)
    entries = json.loads((stored.path / "out.json").read_text())["benchmarks"]
    assert max(entry["stats"]["median"] for entry in entries) < 0.9


def test_a_latency_is_there_too(timed: pytest.Pytester) -> None:
    body = LATENCY.replace("def test_latency(gate):", "def test_latency(gate, benchmark):\n    benchmark(lambda: None)")
    timed.makepyfile(test_toy_latency=body)
    timed.runpytest_subprocess("--benchmark-json", "out.json").assert_outcomes(passed=1)
    (entry,) = json.loads((timed.path / "out.json").read_text())["benchmarks"]
    assert entry["extra_info"]["latency"]["ratio"] == {"value": 1.0, "se": 0.01, "n": 12}


def test_pytest_benchmark_opens_the_file(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "out.json").assert_outcomes(passed=2)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "out.json", "--columns=median"]
    done = subprocess.run(command, cwd=stored.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "scenes-unet-magnitude-all-0.50" in done.stdout + done.stderr


def test_without_pytest_benchmark_there_is_one_message(stored: pytest.Pytester) -> None:
    done = stored.runpytest_subprocess("-p", "no:benchmark")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "-p no:benchmark: the cases are timed by pytest-benchmark. Leave it out." in done.stderr.str()
