"""Where the output is no terminal, a line at times says what runs. A real session on the toy executor."""

from __future__ import annotations

import pytest

from harness.plugin.remaining import Remaining

OFTEN = "\nimport harness.plugin.terminal\nharness.plugin.terminal.EVERY = 0.0\n"


def test_a_line_now_and_then_and_none_before(stored: pytest.Pytester) -> None:
    said = "scenes-unet-magnitude-all-0.20: generating (case 1 of 4)"
    assert said not in stored.runpytest_subprocess().outlines
    conftest = stored.path / "conftest.py"
    conftest.write_text(conftest.read_text() + OFTEN)
    done = stored.runpytest_subprocess("--json", "out.json")
    done.assert_outcomes(passed=4)
    lines = done.outlines
    assert lines.index(said) < next(
        i for i, line in enumerate(lines) if line.startswith("scenes-unet-magnitude") and "PASS" in line
    )
    assert "scenes-unet-random-all-0.50: generating (case 4 of 4)" in lines


def test_the_time_left_is_that_of_the_cases_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a clock that the test sets. The first case has the loading in it, and does not count."""
    now = 0.0
    monkeypatch.setattr("harness.clock.time.monotonic", lambda: now)
    left = Remaining([f"test[{i}]" for i in range(35)])
    assert str(left) == " (case 1 of 35)"
    now = 100.0
    left.ended("test[0]")
    left.ended("another")
    assert str(left) == " (case 2 of 35)"
    now = 110.0
    left.ended("test[1]")
    assert str(left) == " (case 3 of 35, 6 min left in all)"
    for i in range(2, 35):
        left.ended(f"test[{i}]")
    assert str(left) == "" == str(Remaining(["one"]))
