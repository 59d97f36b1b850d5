"""`-k`, `-x` and `--lf` see the verdict as the test's own outcome."""

from __future__ import annotations

import pytest


def test_k_x_and_lf_see_the_verdict(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.runpytest_subprocess("-k", "magnitude and 0.50").assert_outcomes(passed=1)
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("-x").assert_outcomes(failed=1)
    monkeypatch.delenv("TOY_KEEP")
    stored.runpytest_subprocess("--lf").assert_outcomes(passed=1)


def test_a_word_that_matches_nothing_lists_the_names(stored: pytest.Pytester) -> None:
    found = stored.runpytest_subprocess("-k", "magnitud_")
    assert found.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    found.stdout.fnmatch_lines(["no case matches -k*unet*methods *magnitude*wanda*"])
