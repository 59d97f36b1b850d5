"""What the gate does with its baselines, in real sessions."""

from __future__ import annotations

import json

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_no_baseline_fails_and_says_what_to_run(project: pytest.Pytester) -> None:
    found = project.runpytest_subprocess("-k", "magnitude")
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(["*NO BASELINE*store it with*--update-baselines*"])


def test_unchanged_is_green_and_update_says_what_it_stored(project: pytest.Pytester) -> None:
    found = project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first")
    found.stdout.fnmatch_lines([f"*{MAGNITUDE}*new: fid 3, clip 60, composition 0.5"])
    found = project.runpytest_subprocess()
    found.assert_outcomes(passed=4)
    found.stdout.fnmatch_lines([f"{MAGNITUDE}*FID   3.00*CLIP 60.00*composition 0.500*PASS"])
    provenance = json.loads((project.path / "baselines.json").read_text())["cases"][MAGNITUDE]["toyworkload"][
        "provenance"
    ]
    assert provenance["reason"] == "first"


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("TOY_SHIFT", '{"fid": 4}', "REGRESSION (quality): fid 3 → 7"),
        ("TOY_SHIFT", '{"clip": -2}', "REGRESSION (quality): clip 60 → 58"),
        ("TOY_SHIFT", '{"composition": -0.2}', "REGRESSION (quality): composition 0.5 → 0.3"),
        ("TOY_SHIFT", '{"clip": 2}', "IMPROVED (quality): clip 60 → 62"),
        ("TOY_KEEP", "f", "REGRESSION (exact): as many weights are pruned as before, but other ones"),
        ("TOY_DEGENERATE", "9", "REGRESSION (degenerate): 9 pictures are degenerate"),
        ("TOY_WORKLOAD", "other", "NOT COMPARED (baseline): this workload is other"),
    ],
)
def test_a_change_is_red(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = stored.runpytest_subprocess("-k", MAGNITUDE)
    found.assert_outcomes(failed=1)
    assert word in found.stdout.str()


def test_update_of_a_subset_leaves_the_rest_as_it_was(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.path / "baselines.json"
    before = json.loads(path.read_text())
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 2}')
    stored.runpytest_subprocess("-k", MAGNITUDE, "--update-baselines", "--baseline-reason", "second").assert_outcomes(
        passed=1
    )
    after = json.loads(path.read_text())
    assert after["cases"][MAGNITUDE]["toyworkload"]["quality"]["fid"]["value"] == 5
    assert {k: v for k, v in after["cases"].items() if k != MAGNITUDE} == {
        k: v for k, v in before["cases"].items() if k != MAGNITUDE
    }
    assert sorted(p.name for p in stored.path.iterdir() if "baselines" in p.name) == ["baselines.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "has schema 'list', wanted 1"),
        ('{"schema": 99}', "has schema 99, wanted 1"),
        ('{"schema": 1}', "is damaged"),
        ('{"schema": 1, "workloads": {}, "cases": {"a": {"w": {}}}}', "is damaged"),
        ("\x00\xff", "cannot be read"),
    ],
)
def test_broken_baselines_are_one_message(stored: pytest.Pytester, content: str, message: str) -> None:
    path = stored.path / "baselines.json"
    path.write_bytes(content.encode("latin1"))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in found.stderr.lines if line.startswith("ERROR")]
    assert len(errors) == 1 and message in errors[0] and "git checkout" in errors[0]
    assert path.read_bytes() == content.encode("latin1")


def test_a_baseline_that_is_not_a_number_is_refused(stored: pytest.Pytester) -> None:
    path = stored.path / "baselines.json"
    path.write_text(path.read_text().replace('"value": 60.0', '"value": NaN', 1))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "has value nan" in found.stderr.str()


def test_update_wants_a_reason_and_is_refused_in_ci(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stored.runpytest_subprocess("--update-baselines")
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "wants --baseline-reason" in found.stderr.str()
    monkeypatch.setenv("CI", "true")
    found = stored.runpytest_subprocess("--update-baselines", "--baseline-reason", "x")
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "not updated in CI" in found.stderr.str()


def test_a_case_that_cannot_run_is_one_line_and_not_stored(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_BREAKS", MAGNITUDE)
    found = project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first")
    found.assert_outcomes(passed=3, failed=1)
    found.stdout.fnmatch_lines(["layer conv_in cannot be pruned: a weight is NaN or infinite"])
    assert "Traceback" not in found.stdout.str()
    assert MAGNITUDE not in json.loads((project.path / "baselines.json").read_text())["cases"]


def test_an_improvement_may_pass_and_a_regression_may_not(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"clip": 2}')
    found = stored.runpytest_subprocess("-k", MAGNITUDE, "--allow-improvements")
    found.assert_outcomes(passed=1)
    found.stdout.fnmatch_lines([f"{MAGNITUDE}*IMPROVED (quality)"])
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -2}')
    stored.runpytest_subprocess("-k", MAGNITUDE, "--allow-improvements").assert_outcomes(failed=1)


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
