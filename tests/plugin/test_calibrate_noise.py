"""`--calibrate-noise K`: fresh processes, standard deviations, and a tolerance inside the noise refused."""

from __future__ import annotations

import json

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"
CALIBRATE = ("-k", MAGNITUDE, "--calibrate-noise", "3", "--baseline-reason", "measured")


def test_noise_is_stored_with_the_case_and_outlives_an_update(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored.path / "baselines.json"
    before = json.loads(path.read_text())["cases"]
    monkeypatch.setenv("TOY_WOBBLE", "0.002")
    found = stored.runpytest_subprocess(*CALIBRATE)
    assert found.ret == 0
    found.stdout.fnmatch_lines(
        ["run 1 of 3: 1 threads, batches of 32", "run 3 of 3: 4 threads, batches of 32", f"{MAGNITUDE}*clip 0.0031*"]
    )
    after = json.loads(path.read_text())["cases"]
    entry = after.pop(MAGNITUDE)["toyworkload"]
    del before[MAGNITUDE]
    assert after == before
    # Threads are 1, 2 and 4: the standard deviation of 0.002, 0.004 and 0.008.
    assert entry["quality"]["clip"]["sigma_aa"] == pytest.approx(0.00306, abs=1e-5)
    assert entry["quality"]["fid"]["sigma_aa"] == 0 and entry["noise"]["runs"] == 3
    monkeypatch.delenv("TOY_WOBBLE")
    stored.runpytest_subprocess("--update-baselines", "--baseline-reason", "again").assert_outcomes(passed=4)
    entry = json.loads(path.read_text())["cases"][MAGNITUDE]["toyworkload"]
    assert entry["quality"]["clip"]["sigma_aa"] == pytest.approx(0.00306, abs=1e-5)


def test_noise_above_a_third_of_the_tolerance_is_refused(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads((stored.path / "baselines.json").read_text())["cases"]
    monkeypatch.setenv("TOY_WOBBLE", "0.1")
    found = stored.runpytest_subprocess(*CALIBRATE)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines([f"{MAGNITUDE}*REFUSED: three times that exceeds the tolerance of clip"])
    assert json.loads((stored.path / "baselines.json").read_text())["cases"] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibrate-noise", "1", "--baseline-reason", "x"], "wanted 2 processes or more"),
        (["--calibrate-noise", "3"], "--calibrate-noise wants --baseline-reason"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "-n", "2"], "leave -n out"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "--ci"], "not updated in CI"),
    ],
)
def test_what_cannot_work_is_said(stored: pytest.Pytester, options: list[str], message: str) -> None:
    found = stored.runpytest_subprocess("-k", MAGNITUDE, *options)
    assert found.ret == pytest.ExitCode.USAGE_ERROR and message in found.stderr.str()


def test_a_run_that_measures_nothing_is_said(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    monkeypatch.setenv("TOY_BREAKS", MAGNITUDE)
    found = stored.runpytest_subprocess(*CALIBRATE)
    assert (
        found.ret == pytest.ExitCode.USAGE_ERROR and "run 1 of the calibration measured nothing" in found.stderr.str()
    )
    assert (stored.path / "baselines.json").read_bytes() == before
