"""`--store`: finished cases are found again, by their content; nothing else is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"
RANDOM = "scenes-unet-random-all-0.20"


@pytest.fixture
def log(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = stored.path / "measured.log"
    monkeypatch.setenv("TOY_LOG", str(path))
    return path


def measured(log: Path) -> list[str]:
    found = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def test_a_finished_case_is_not_measured_again(
    stored: pytest.Pytester, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--store", "kept").assert_outcomes(passed=2)
    assert len(measured(log)) == 3  # the dense model first
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -5}')
    found = stored.runpytest_subprocess("--store", "kept")
    found.assert_outcomes(passed=2, failed=2)
    assert set(measured(log)) == {RANDOM, RANDOM.replace("0.20", "0.50")}
    found.stdout.fnmatch_lines([f"{MAGNITUDE}*composition 0.500 * kept  PASS", "*0.20 * kept * PASS"])
    assert (stored.path / "prunegate-report" / "contact-scenes-unet-magnitude-all.png").exists()


def test_without_the_option_nothing_is_kept(stored: pytest.Pytester, log: Path) -> None:
    for _ in range(2):
        stored.runpytest_subprocess("-k", "magnitude").assert_outcomes(passed=2)
        assert len(measured(log)) == 3


def test_a_killed_update_takes_up_where_it_was(
    stored: pytest.Pytester, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    update = ("--store", "kept", "--update-baselines", "--baseline-reason", "moved")
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -5}')
    monkeypatch.setenv("TOY_KILLED", RANDOM)
    assert stored.runpytest_subprocess(*update).ret == -signal.SIGKILL
    assert len(measured(log)) == 4 and (stored.path / "baselines.json").read_bytes() == before
    monkeypatch.delenv("TOY_KILLED")
    stored.runpytest_subprocess(*update).assert_outcomes(passed=4)
    assert len(measured(log)) == 2
    stored.runpytest_subprocess().assert_outcomes(passed=4)


def test_a_damaged_entry_is_measured_anew(stored: pytest.Pytester, log: Path) -> None:
    stored.runpytest_subprocess("--store", "kept").assert_outcomes(passed=4)
    measured(log)
    first, second, *_ = sorted((stored.path / "kept").glob("*.json"))
    first.write_text(first.read_text()[:100])
    row = second.with_suffix(".png")
    row.write_bytes(row.read_bytes()[:60])
    stored.runpytest_subprocess("--store", "kept").assert_outcomes(passed=4)
    assert len(measured(log)) == 2


def test_all_pictures_are_made_anew_and_kept_all_the_same(stored: pytest.Pytester, log: Path) -> None:
    for _ in range(2):
        stored.runpytest_subprocess("-k", "magnitude", "--store", "kept", "--images", "all").assert_outcomes(passed=2)
        assert len(measured(log)) == 3
    stored.runpytest_subprocess("-k", "magnitude", "--store", "kept").assert_outcomes(passed=2)
    assert not measured(log)


def test_other_code_or_another_workload_is_another_entry(
    stored: pytest.Pytester, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--store", "kept").assert_outcomes(passed=2)
    measured(log)
    stored.makeconftest(
        (stored.path / "conftest.py").read_text()
        + "\n\nimport harness.store\nharness.store.code_digest = lambda without=(): 'other'\n"
    )
    stored.runpytest_subprocess("-k", "magnitude", "--store", "kept").assert_outcomes(passed=2)
    assert len(measured(log)) == 3


def test_a_store_that_cannot_be_written_is_said_before_anything_runs(stored: pytest.Pytester, log: Path) -> None:
    (stored.path / "file").touch()
    found = stored.runpytest_subprocess("--store", "file")
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "with --store" in found.stderr.str()
    assert not measured(log)
