"""Each verdict, and what it does to the exit status."""

from __future__ import annotations

import pytest

from harness.verdict.repository import Repository
from tests.shifting import shifted

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("TOY_SHIFT", '{"fid": 4}', "REGRESSION (quality): fid 3 → 7"),
        ("TOY_SHIFT", '{"clip": -2}', "REGRESSION (quality): clip 60 → 58"),
        ("TOY_SHIFT", '{"composition": -0.2}', "REGRESSION (quality): composition 0.5 → 0.3"),
        ("TOY_SHIFT", '{"clip": 2}', "IMPROVED (quality): clip 60 → 62"),
        ("TOY_KEEP", "f", "REGRESSION (exact): the same number of weights is pruned, but different ones"),
        ("TOY_DEGENERATE", "9", "REGRESSION (degenerate): 9 pictures are degenerate"),
        ("TOY_WORKLOAD", "other", "NOT COMPARED (baseline): baselines.json has this case with other facts: the scorer"),
        ("TOY_SHIFT", '{"drift": 0.5}', "REGRESSION (quality): drift 1 → 1.5 (+0.5 ±"),
        ("TOY_SHIFT", '{"fid_dense": 0.5}', "REGRESSION (quality): fid_dense 2 → 2.5 (+0.5 ±"),
        ("TOY_SHIFT", '{"fid_dense": -0.5}', "IMPROVED (quality): fid_dense 2 → 1.5"),
        ("TOY_MEMORY", "1.05", "REGRESSION (memory): generation needs 52.5 MB of tensors at once, the baseline 50.0"),
        ("TOY_MEMORY", "0.5", "IMPROVED (memory): generation needs 25.0 MB"),
        ("TOY_BYTES", "6000", "REGRESSION (memory): the parameters of text_encoder take 6,000 bytes stored, the"),
    ],
)
def test_a_change_is_red(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    monkeypatch.setenv(variable, value)
    done = stored.runpytest_subprocess("-k", MAGNITUDE)
    done.assert_outcomes(failed=1)
    assert word in done.stdout.str()


def test_what_moved_and_is_not_sure_is_red_everywhere(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -0.5}')
    monkeypatch.setenv("TOY_SCATTER", '{"clip": 3}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["UNDERPOWERED (quality): clip 60 → 59.5 (-0.5 ± 1.1, tolerance ±0.02, n 64, p 0.*"])


@pytest.mark.parametrize("strict", ["--ci", "CI"])
def test_what_may_have_moved_is_a_warning_and_fails_in_ci(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, strict: str
) -> None:
    monkeypatch.setenv("TOY_SCATTER", '{"clip": 3}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"WARNING: *{MAGNITUDE}*: UNDERPOWERED (quality): clip 60 → 60 (+0 ± 1.1*"])
    if strict == "CI":
        monkeypatch.setenv("CI", "true")
    options = [strict] if strict == "--ci" else []
    stored.runpytest_subprocess("-k", MAGNITUDE, *options).assert_outcomes(failed=1)


@pytest.mark.parametrize(("variable", "value"), [("TOY_BATCH", "8"), ("TOY_DEVICE", "another")])
def test_memory_on_another_stack_is_said_not_judged(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("TOY_MEMORY", "3")
    monkeypatch.setenv(variable, value)
    done = stored.runpytest_subprocess("-k", "magnitude", "--ci")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines([f"2 cases: memory was not compared: no baseline of device *{value}*"])


def test_latency_has_a_baseline_per_stack(timed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    done = timed.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"{MAGNITUDE}*latency 1.000 ± 0.010 of dense, 12 rounds  PASS"])
    monkeypatch.setenv("TOY_LATENCY", "1.5")
    done = timed.runpytest_subprocess("--report", "seen")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["REGRESSION (latency): pruned / dense 1.000 → 1.500 (+0.500 ± 0.014*"])
    assert "1.500 ± 0.010" in (timed.path / "seen" / "index.html").read_text()
    monkeypatch.setenv("TOY_DEVICE", "another")
    done = timed.runpytest_subprocess("--ci")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["1 case: latency was not compared: no baseline of device another*"])
    (timed.path / "baselines.json").unlink()
    timed.runpytest_subprocess().stdout.fnmatch_lines(["NO BASELINE (latency): baselines.json has no latency of*"])


@pytest.mark.parametrize(("tolerances", "green"), [(0.5, True), (1.5, False)])
@pytest.mark.parametrize("metric", ["fid", "fid_dense", "clip", "composition", "drift"])
def test_baselines_shifted_by_tolerances(stored: pytest.Pytester, metric: str, tolerances: float, green: bool) -> None:
    shifted(Repository.open(stored.path / "baselines.json"), metric, tolerances).write()
    outcome = {"passed": 2} if green else {"failed": 2}
    done = stored.runpytest_subprocess("-k", "magnitude")
    done.assert_outcomes(**outcome)
    assert green or done.stdout.str().count(f"REGRESSION (quality): {metric} ") == 3


def test_a_test_may_judge_outcomes_in_another_order(stored: pytest.Pytester) -> None:
    stored.makepyfile(
        test_toy="""
        from harness.case import Case

        def test_quality(gate):
            first, second = (
                gate.run(Case("scenes", "unet", method, "all", (0.2,))) for method in ("magnitude", "random")
            )
            gate.judge(second)
            gate.judge(first)
        """
    )
    done = stored.runpytest_subprocess("--json", "out.json")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["scenes-unet-random-all-0.20*PASS", f"{MAGNITUDE}*PASS"])


def test_a_case_of_another_target_is_refused(stored: pytest.Pytester) -> None:
    stored.makepyfile(
        test_toy="""
        from harness.case import Case

        def test_quality(gate):
            gate.run(Case("another"))
        """
    )
    done = stored.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["another-none-dense-none-0.00 is a case of another, but this test measures scenes*"])
