"""Red cases leave what their baselines would become."""

from __future__ import annotations

import json

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_red_cases_leave_a_candidate(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    found = stored.runpytest_subprocess("-k", MAGNITUDE)
    found.stdout.fnmatch_lines(["*of the 1 red cases would become: prunegate-report/baselines.candidate.json"])
    assert (stored.path / "baselines.json").read_bytes() == before
    candidate = stored.path / "prunegate-report" / "baselines.candidate.json"
    stored.runpytest_subprocess("-k", MAGNITUDE, "--baselines", candidate).assert_outcomes(passed=1)
    figures = {
        c: e["toyworkload"]["quality"]["fid"]["value"] for c, e in json.loads(candidate.read_text())["cases"].items()
    }
    assert figures.pop(MAGNITUDE) == 7 and set(figures.values()) == {3}
