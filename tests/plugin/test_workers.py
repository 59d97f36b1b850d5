"""`-n 2`: cases are shared out among processes, judged and stored as by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.verdict.repository import Repository


def test_two_workers_judge_and_store_as_one(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    done = stored.runpytest_subprocess("-n", "2", "--update-baselines", "--baseline-reason", "first")
    done.assert_outcomes(passed=4)
    assert (stored.path / "baselines.json").read_bytes() == before
    assert (stored.path / "prunegate-report" / "contact-scenes-unet-magnitude-all.png").exists()
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("-n", "2").assert_outcomes(failed=4)


def test_workers_plan_nothing(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    log = stored.path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    stored.runpytest_subprocess("-n", "2").assert_outcomes(passed=4)
    lines = log.read_text().split("\n")
    assert lines.count("plan 0") == 2 == lines.count("scenes-none-dense-none-0.00") == lines.count("close")
    log.unlink()
    stored.runpytest_subprocess().assert_outcomes(passed=4)
    lines = log.read_text().split("\n")
    assert lines[:2] == ["plan 4", "scenes-none-dense-none-0.00"] and lines[-2:] == ["close", ""]


def test_workers_and_benchmark_json_do_not_go_together(stored: pytest.Pytester) -> None:
    done = stored.runpytest_subprocess("-n", "2", "--benchmark-json", "out.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR and "use --json out.json" in done.stderr.str()


def test_the_controlling_process_refuses_before_any_worker_starts(stored: pytest.Pytester) -> None:
    (stored.path / "baselines.json").write_text("{")
    done = stored.runpytest_subprocess("-n", "2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in done.stderr.lines if line.startswith("ERROR")] and "gw0" not in done.stdout.str()


def test_a_worker_that_dies_leaves_the_results_of_the_others(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KILLED", "scenes-unet-random-all-0.50")
    done = stored.runpytest_subprocess("-n", "2", "--json", "out.json")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert Path(stored.path / "out.json").read_text().count('"verdict": "PASS"') == 3
    assert len(Repository.open(stored.path / "baselines.json").baselines.cases) == 5
