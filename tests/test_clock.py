"""The estimate of the time left, against a clock that the test sets."""

from __future__ import annotations

import pytest

from harness.clock import Clock


def test_the_time_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("harness.clock.time.monotonic", lambda: now)
    clock = Clock(1000)
    assert clock.left(0) == ""
    clock.begin(200)
    now = 2.0
    assert clock.left(201) == ""
    now = 10.0
    assert clock.left(300) == ", 70 s left" and clock.left(210) == ", 13 min left" and clock.left(1000) == ", 0 s left"
    clock.begin(300)
    now = 200.0
    assert clock.left(210) == ", 4 h left"
