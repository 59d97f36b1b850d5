"""`--calibrate-noise K`: fresh processes, standard deviations, and a tolerance that stands above the noise."""

from __future__ import annotations

import pytest

from tests.plugin.reading import entries

MAGNITUDE = "scenes-unet-magnitude-all-0.20"
CALIBRATE = ("-k", MAGNITUDE, "--calibrate-noise", "3", "--baseline-reason", "measured")


def test_noise_is_stored_with_the_case_and_outlives_an_update(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored.path / "baselines.json"
    before = entries(path)
    monkeypatch.setenv("TOY_WOBBLE", "0.002")
    done = stored.runpytest_subprocess(*CALIBRATE)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        ["run 1 of 3: 1 threads, batches of 32", "run 3 of 3: 4 threads, batches of 32", f"{MAGNITUDE}*clip 0.0031*"]
    )
    after = entries(path)
    entry = after.pop(MAGNITUDE)
    del before[MAGNITUDE]
    assert after == before
    # Threads are 1, 2 and 4: the standard deviation of 0.002, 0.004 and 0.008.
    assert entry.quality["clip"].noise == pytest.approx(0.00306, abs=1e-5)
    assert entry.quality["fid"].noise == 0 and entry.provenance.noise_runs == 3
    assert "measured" in entry.provenance.noise_from
    monkeypatch.delenv("TOY_WOBBLE")
    stored.runpytest_subprocess("--update-baselines", "--baseline-reason", "again").assert_outcomes(passed=4)
    assert entries(path)[MAGNITUDE].quality["clip"].noise == pytest.approx(0.00306, abs=1e-5)


def test_noise_above_a_third_of_the_tolerance_widens_it(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_WOBBLE", "0.1")
    done = stored.runpytest_subprocess(*CALIBRATE)
    assert done.ret == 0
    done.stdout.fnmatch_lines([f"{MAGNITUDE}*clip 0.15 (tolerance 0.02 → 0.4583)*"])
    figure = entries(stored.path / "baselines.json")[MAGNITUDE].quality["clip"]
    assert 0 <= figure.tolerance - 3 * figure.noise < 0.0001 and figure.spread > 0.1
    source = entries(stored.path / "baselines.json")[MAGNITUDE].provenance
    assert source.noise_from.endswith(": measured (threads 1; batches of 4; one machine)")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibrate-noise", "1", "--baseline-reason", "x"], "--calibrate-noise 1 is too small"),
        (["--calibrate-noise", "0", "--baseline-reason", "x"], "--calibrate-noise 0 is too small"),
        (["--calibrate-noise", "3"], "--calibrate-noise needs a reason"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "-n", "2"], "Leave -n out"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "--ci"], "--calibrate-noise is refused in CI"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "--json", "o.json"], "Leave --json out"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "--update-baselines"], "--update-baselines first"),
        (["--calibrate-noise", "3", "--baseline-reason", "x", "--store", "kept"], "--store prevents that"),
    ],
)
def test_contradictions_are_one_message(stored: pytest.Pytester, options: list[str], message: str) -> None:
    done = stored.runpytest_subprocess("-k", MAGNITUDE, *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR and message in done.stderr.str()


def test_a_run_that_measures_nothing_is_said(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    monkeypatch.setenv("TOY_BREAKS", MAGNITUDE)
    done = stored.runpytest_subprocess(*CALIBRATE)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--calibrate-noise: run 1 measured nothing" in done.stderr.str()
    assert (stored.path / "baselines.json").read_bytes() == before
