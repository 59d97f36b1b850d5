"""Changing a method on purpose, in real sessions on the toy executor: old → new everywhere, and a mode without red."""

from __future__ import annotations

import pytest

from harness import results

MAGNITUDE = "scenes-unet-magnitude-all-0.20"
OTHER_MASKS = ("TOY_KEEP", "f")


def test_a_red_exact_gate_still_says_old_and_new_of_every_metric(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*OTHER_MASKS)
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4, "clip": -2}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE, "--json", "out.json", "--junitxml", "junit.xml")
    done.assert_outcomes(failed=1)
    every = (
        "baseline → now: FID 3.000 → 7.000 (+4.000 ± 0.000), FID to dense 2.000 → 2.000 (+0.000 ± 0.000), CLIP score"
    )
    said = done.stdout.str()
    assert "REGRESSION (exact)" in said and every in said
    assert "FID 3.000 → 7.000" in (stored.path / "junit.xml").read_text(encoding="utf-8")
    assert "FID 3.000 → 7.000" in (stored.path / "prunegate-report" / "index.html").read_text(encoding="utf-8")
    (result,) = results.read(stored.path / "out.json").cases
    assert [(change.metric, change.before, change.now, change.word) for change in result.changes] == [
        ("fid", 3.0, 7.0, "worse"), ("fid_dense", 2.0, 2.0, "same"), ("clip", 60.0, 58.0, "worse"),
        ("composition", 0.5, 0.5, "same"), ("drift", 1.0, 1.0, "same"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shift", "scatter", "word"),
    [
        ('{"clip": 2}', "{}", "BETTER"),
        ('{"clip": -2}', "{}", "WORSE"),
        ('{"clip": 2, "fid": 2}', "{}", "MIXED"),
        ('{"clip": 0.1}', '{"clip": 3}', "UNCLEAR"),
        ("{}", "{}", "SAME"),
    ],
)
def test_compare_only_is_never_red_and_says_how_figures_moved(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, shift: str, scatter: str, word: str
) -> None:
    monkeypatch.setenv(*OTHER_MASKS)
    monkeypatch.setenv("TOY_SHIFT", shift)
    monkeypatch.setenv("TOY_SCATTER", scatter)
    done = stored.runpytest_subprocess("-k", MAGNITUDE, "--compare-only", "--ci")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"{MAGNITUDE} *  {word}", "case *metric *baseline → now *change *certainty"])
    done.stdout.fnmatch_lines(["1 case: --compare-only: nothing is red, although the gate exact says REGRESSION"])
    if word == "UNCLEAR":
        done.stdout.fnmatch_lines(["*CLIP score *60.00 → 60.10 *+0.10 ± 1.13 *unclear *53.4%"])
    if word == "BETTER":
        done.stdout.fnmatch_lines(["*CLIP score *60.000 → 62.000 *+2.000 ± 0.000 *better *> 99.9%"])


def test_compare_only_without_baselines_is_green_and_says_so(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess("-k", MAGNITUDE, "--compare-only")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"{MAGNITUDE} *NO BASELINE (baseline)"])


def test_an_error_fails_with_compare_only_too(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_BREAKS", MAGNITUDE)
    stored.runpytest_subprocess("-k", MAGNITUDE, "--compare-only").assert_outcomes(failed=1)


def test_latency_is_not_red_either(timed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LATENCY", "1.5")
    timed.runpytest_subprocess("--compare-only").assert_outcomes(passed=1)
