"""Red cases leave what their baselines would become, and the commands to look closer and to accept."""

from __future__ import annotations

import shlex

import pytest

from tests.plugin.reading import entries

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_red_cases_leave_a_candidate(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE)
    done.stdout.fnmatch_lines(
        ["the baselines with this run's figures of the 2 red cases: prunegate-report/baselines.candidate.json"]
    )
    assert (stored.path / "baselines.json").read_bytes() == before
    candidate = stored.path / "prunegate-report" / "baselines.candidate.json"
    stored.runpytest_subprocess("-k", MAGNITUDE, "--baselines", candidate).assert_outcomes(passed=1)
    figures = {case: entry.quality["fid"].value for case, entry in entries(candidate).items()}
    assert figures.pop(MAGNITUDE) == figures.pop("scenes-none-dense-none-0.00") == 7
    assert set(figures.values()) == {3}


def test_the_commands_repeat_the_options_of_the_run(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    options = ("-x", "-n2", "--tier=smoke", "--report", "my report", "--json=out.json", "-k", "magnitude and 0.20")
    done = stored.runpytest_subprocess(*options)
    lines = [line for line in done.stdout.lines if line.startswith("to ")]
    pictures, store, everything = (shlex.split(line.partition("pytest ")[2]) for line in lines)
    kept = ["--tier=smoke", "--report", "my report", "-k", MAGNITUDE]
    assert pictures[-7:] == [*kept, "--images", "pictures"]
    assert store[-8:] == [*kept, "--update-baselines", "--baseline-reason", "why"]
    assert everything[-8:-4] == ["--tier=smoke", "--report", "my report", "-k"]
    assert not {"-x", "-n2", "--json=out.json"} & {*pictures, *store}
    # What is printed can be typed.
    stored.runpytest_subprocess(*everything).assert_outcomes(passed=1)
    stored.runpytest_subprocess(*pictures).assert_outcomes(passed=1)
    assert (stored.path / "pictures" / MAGNITUDE / "0000-one.png").exists()
