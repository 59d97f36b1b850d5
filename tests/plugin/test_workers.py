"""`-n 2`: cases are shared out among processes, judged and stored as by one."""

from __future__ import annotations

import pytest


def test_two_workers_judge_and_store_as_one(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    found = stored.runpytest_subprocess("-n", "2", "--update-baselines", "--baseline-reason", "first")
    found.assert_outcomes(passed=4)
    assert (stored.path / "baselines.json").read_bytes() == before
    assert (stored.path / "prunegate-report" / "contact-scenes-unet-magnitude-all.png").exists()
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("-n", "2").assert_outcomes(failed=4)


def test_workers_and_benchmark_json_do_not_go_together(stored: pytest.Pytester) -> None:
    found = stored.runpytest_subprocess("-n", "2", "--benchmark-json", "out.json")
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "leave one out" in found.stderr.str()
