"""`--allow-improvements`: gains pass, losses do not."""

from __future__ import annotations

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_an_improvement_may_pass_and_a_regression_may_not(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"clip": 2}')
    found = stored.runpytest_subprocess("-k", MAGNITUDE, "--allow-improvements")
    found.assert_outcomes(passed=1)
    found.stdout.fnmatch_lines([f"{MAGNITUDE}*IMPROVED (quality)"])
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -2}')
    stored.runpytest_subprocess("-k", MAGNITUDE, "--allow-improvements").assert_outcomes(failed=1)
