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
    done = stored.runpytest_subprocess("-k", "magnitud_")
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    done.stdout.fnmatch_lines(["-k matches no case*unet*methods: *magnitude*wanda*"])


def test_an_expected_failure_is_no_failure(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.path / "test_toy.py"
    path.write_text(path.read_text().replace("def test_quality", "@pytest.mark.xfail\ndef test_quality"))
    monkeypatch.setenv("TOY_KEEP", "f")
    done = stored.runpytest_subprocess("-k", "magnitude")
    done.assert_outcomes(xfailed=2)
    assert done.ret == 0


def test_dots_of_other_tests_and_lines_of_cases_do_not_run_into_each_other(stored: pytest.Pytester) -> None:
    stored.makepyfile(test_zoo="def test_one(): pass\ndef test_two(): pass\n")
    path = stored.path / "test_toy.py"
    path.write_text("def test_first(): pass\n" + path.read_text() + "\n\ndef test_last(): pass\n")
    done = stored.runpytest_subprocess("-o", "console_output_style=classic")
    done.assert_outcomes(passed=8)
    lines = done.stdout.lines
    start = lines.index("test_toy.py .")
    cases = [line.partition(" ")[0] for line in lines[start + 1 : start + 5]]
    names = [f"scenes-unet-{method}-all-{level}" for method in ("magnitude", "random") for level in ("0.20", "0.50")]
    assert cases == names and lines[start + 5 : start + 7] == [".", "test_zoo.py .."]


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["one process", "two workers"])
def test_a_target_that_cannot_be_loaded_ends_the_run(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    monkeypatch.setenv("TOY_CANNOT_LOAD", "1")
    done = stored.runpytest_subprocess(*workers)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert done.stdout.str().count("Exit: the toy cannot be loaded; wind it up") == 1
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
