"""`--update-baselines`: what is stored, what stays, and when it is refused."""

from __future__ import annotations

import signal

import pytest

from tests.plugin.reading import entries

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_unchanged_is_green_and_update_says_what_it_stored(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first")
    done.stdout.fnmatch_lines([f"*{MAGNITUDE}*new: fid 3, fid_dense 2, clip 60, composition 0.5, drift 1"])
    done = project.runpytest_subprocess()
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines([f"{MAGNITUDE}*FID   3.00*CLIP score  60.00*composition 0.500*PASS"])
    assert entries(project.path / "baselines.json")[MAGNITUDE].provenance.reason == "first"


def test_update_of_a_subset_leaves_the_rest_as_it_was(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.path / "baselines.json"
    before = entries(path)
    sidecars = {p.name: p.read_bytes() for p in (stored.path / "baselines").iterdir()}
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 2}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE, "--update-baselines", "--baseline-reason", "second")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"*{MAGNITUDE}*fid 3 → 5, *"])
    after = entries(path)
    assert after.pop(MAGNITUDE).quality["fid"].value == 5
    del before[MAGNITUDE]
    assert after == before
    assert sorted(p.name for p in stored.path.iterdir() if "baselines" in p.name) == ["baselines", "baselines.json"]
    now = {p.name: p.read_bytes() for p in (stored.path / "baselines").iterdir()}
    assert len(now) == 5 and sum(now.get(name) == content for name, content in sidecars.items()) == 4


def test_update_wants_a_reason_and_is_refused_in_ci(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    done = stored.runpytest_subprocess("--update-baselines")
    assert done.ret == pytest.ExitCode.USAGE_ERROR and "--update-baselines needs a reason" in done.stderr.str()
    monkeypatch.setenv("CI", "true")
    done = stored.runpytest_subprocess("--update-baselines", "--baseline-reason", "x")
    assert done.ret == pytest.ExitCode.USAGE_ERROR and "--update-baselines is refused in CI" in done.stderr.str()


def test_a_case_that_cannot_run_is_one_line_and_not_stored(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_BREAKS", MAGNITUDE)
    done = project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["layer conv_in cannot be pruned: a weight is NaN or infinite"])
    assert "Traceback" not in done.stdout.str()
    assert MAGNITUDE not in entries(project.path / "baselines.json")


def test_an_update_of_nothing_new_leaves_every_byte(stored: pytest.Pytester) -> None:
    def content() -> dict[str, bytes]:
        files = [stored.path / "baselines.json", *(stored.path / "baselines").iterdir()]
        return {str(path): path.read_bytes() for path in files}

    before = content()
    stored.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=4)
    assert content() == before


@pytest.mark.parametrize("at", ["baselines.json", "sidecar"])
def test_a_kill_in_the_middle_of_an_update_leaves_the_old_file(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    path = stored.path / "baselines.json"
    before = path.read_bytes()
    update = ("-k", "magnitude", "--update-baselines", "--baseline-reason", "second")
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 2}')
    stored.runpytest_subprocess(*update, "--baselines", "other.json").assert_outcomes(passed=2)
    name = sorted(p.name for p in (stored.path / "other").iterdir())[1]
    monkeypatch.setenv("TOY_KILLED_AT", name if at == "sidecar" else at)
    assert stored.runpytest_subprocess(*update).ret == -signal.SIGKILL
    assert path.read_bytes() == before
    monkeypatch.delenv("TOY_KILLED_AT")
    monkeypatch.delenv("TOY_SHIFT")
    stored.runpytest_subprocess().assert_outcomes(passed=4)
    stored.runpytest_subprocess(*update).assert_outcomes(passed=2)


def test_metrics_beside_the_default_ones_are_stored_and_judged_where_they_are_measured(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = stored.runpytest_subprocess("-k", MAGNITUDE, "--metrics", "ssim,psnr")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["1 case: not judged: ssim and psnr has no baseline*"])
    update = ("--update-baselines", "--baseline-reason", "more")
    stored.runpytest_subprocess("-k", MAGNITUDE, "--metrics", "ssim,psnr", *update).assert_outcomes(passed=1)
    monkeypatch.setenv("TOY_SHIFT", '{"ssim": -5}')
    done = stored.runpytest_subprocess("-k", MAGNITUDE, "--metrics", "ssim,psnr")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["REGRESSION (quality): ssim 20 → 15*"])
    done = stored.runpytest_subprocess("-k", MAGNITUDE)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["1 case: not judged: ssim and psnr was not measured*"])
