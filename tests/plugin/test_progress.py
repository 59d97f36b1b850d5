"""Where the output is no terminal, a line at times says what runs. A real session on the toy executor."""

from __future__ import annotations

import pytest

OFTEN = "\nimport harness.plugin.terminal\nharness.plugin.terminal.EVERY = 0.0\n"


def test_a_line_now_and_then_and_none_before(stored: pytest.Pytester) -> None:
    said = "scenes-unet-magnitude-all-0.20: generating"
    assert said not in stored.runpytest_subprocess().outlines
    conftest = stored.path / "conftest.py"
    conftest.write_text(conftest.read_text() + OFTEN)
    done = stored.runpytest_subprocess("--json", "out.json")
    done.assert_outcomes(passed=4)
    lines = done.outlines
    assert lines.index(said) < next(
        i for i, line in enumerate(lines) if line.startswith("scenes-unet-magnitude") and "PASS" in line
    )
