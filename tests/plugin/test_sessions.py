"""Selecting, stopping, sharing out, reporting: the gate under pytest's own options."""

from __future__ import annotations

import json

import pytest


def test_k_x_and_lf_see_the_verdict(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.runpytest_subprocess("-k", "magnitude and 0.50").assert_outcomes(passed=1)
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("-x").assert_outcomes(failed=1)
    monkeypatch.delenv("TOY_KEEP")
    stored.runpytest_subprocess("--lf").assert_outcomes(passed=1)


def test_two_workers_judge_and_store_as_one(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (stored.path / "baselines.json").read_bytes()
    found = stored.runpytest_subprocess("-n", "2", "--update-baselines", "--baseline-reason", "first")
    found.assert_outcomes(passed=4)
    assert (stored.path / "baselines.json").read_bytes() == before
    assert (stored.path / "prunegate-report" / "contact-scenes-unet-magnitude-all.png").exists()
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("-n", "2").assert_outcomes(failed=4)


def test_a_word_that_matches_nothing_lists_the_names(stored: pytest.Pytester) -> None:
    found = stored.runpytest_subprocess("-k", "magnitud_")
    assert found.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    found.stdout.fnmatch_lines(["no case matches -k*unet*methods *magnitude*wanda*"])


def test_workers_and_benchmark_json_do_not_go_together(stored: pytest.Pytester) -> None:
    found = stored.runpytest_subprocess("-n", "2", "--benchmark-json", "out.json")
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "leave one out" in found.stderr.str()


def test_benchmark_json_carries_every_figure(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("-k", "magnitude", "--benchmark-json", "out.json").assert_outcomes(passed=2)
    entries = json.loads((stored.path / "out.json").read_text())["benchmarks"]
    info = entries[0]["extra_info"]
    assert len(entries) == 2 and info["case"] == "scenes-unet-magnitude-all-0.20"
    assert info["quality"]["fid"] == {"value": 3.0, "se": 0.1, "n": 64}
    assert info["exact"]["components"]["unet"]["zeros"] == 200 and info["seconds"] == {"prune": 0.1, "generate": 0.2}


def test_table_sheet_and_pictures(stored: pytest.Pytester) -> None:
    found = stored.runpytest_subprocess("--images", "kept", "--report", "seen")
    found.stdout.fnmatch_lines(
        ["scenes: unet pruned by magnitude, all layers, n = 64", "*sparsity*FID*CLIP score*composition*zeros*verdict"]
    )
    found.stdout.fnmatch_lines(["*0.50*3.00 ± 0.10*60.00 ± 0.10*0.500 ± 0.100*50.0%*PASS"])
    sheets = sorted(p.name for p in (stored.path / "seen").glob("*.png"))
    assert sheets == ["contact-scenes-unet-magnitude-all.png", "contact-scenes-unet-random-all.png"]
    kept = sorted(p.name for p in (stored.path / "kept" / "scenes-unet-magnitude-all-0.20").iterdir())
    assert kept == ["0000-one.png", "0001-two.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "scene"], "did you mean scenes"),
        (["--tier", "huge"], "invalid choice: 'huge'"),
        (["--weights", "nowhere"], "--weights nowhere holds no pipeline"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--baseline-reason", "x"], "does nothing without --update-baselines"),
        (["--report", "conftest.py/x"], "nothing can be written to"),
        (["--images", "conftest.py"], "nothing can be written to"),
    ],
)
def test_wrong_options_are_one_message(stored: pytest.Pytester, options: list[str], message: str) -> None:
    found = stored.runpytest_subprocess(*options)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert message in found.stderr.str() and "Traceback" not in found.stderr.str() + found.stdout.str()
