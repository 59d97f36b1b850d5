"""Options that cannot work are one message, before anything runs."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "scene"], "did you mean scenes"),
        (["--tier", "huge"], "invalid choice: 'huge'"),
        (["--weights", "nowhere"], "--weights nowhere holds no pipeline"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--baseline-reason", "x"], "does nothing without --update-baselines"),
        (["--calibrate-noise", "2", "--baseline-reason", "x", "--store", "kept"], "--store would not: leave it out"),
        (["--store="], "--store: is empty, wanted a file or folder"),
        (["--report", "conftest.py/x"], "nothing can be written to"),
        (["--images", "conftest.py"], "nothing can be written to"),
    ],
)
def test_wrong_options_are_one_message(stored: pytest.Pytester, options: list[str], message: str) -> None:
    found = stored.runpytest_subprocess(*options)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert message in found.stderr.str() and "Traceback" not in found.stderr.str() + found.stdout.str()
