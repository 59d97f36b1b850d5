"""The scripts that run models or pytest: their arithmetic, and the embedded model for those that are quick."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.report.made_up import cases, results
from tests.tools.loading import load


def tool(name: str) -> Any:
    return load(name)


def test_distances_of_equal_and_of_moved_records() -> None:
    noise = tool("noise")
    (same,), (moved,) = (results(*cases("unet", "magnitude", [0.5]), shift=by).cases for by in (0.0, 0.25))
    assert set(noise.distances(same.record, same.record).values()) == {0.0}
    found = noise.distances(moved.record, same.record)
    assert found.pop(noise.MASKS) == 0.0 and found == pytest.approx(dict.fromkeys(same.record.quality, 0.25))
    assert noise.largest([{"a": 1.0, "b": 3.0}, {"a": 2.0}]) == {"a": 2.0, "b": 3.0}
    assert noise.line({"a": 2.0, "b": 0.125}) == "a 2.00000  b 0.12500"


def test_twenty_green_runs_bound_the_rate_of_false_alarms() -> None:
    assert tool("clean_runs").bound(20) == pytest.approx(0.139, abs=1e-3)
    assert (1 - tool("clean_runs").bound(20)) ** 20 == pytest.approx(0.05)


def test_a_run_of_pytest_that_fails_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = tool("clean_runs")
    ending = "import sys; print('FAILED a::b'); print('=== 1 failed ==='); sys.exit(1)"
    monkeypatch.setattr(clean, "PYTEST", (sys.executable, "-c", ending))
    assert clean.once(["a::b"], 2) == (1, "1 failed\nFAILED a::b")


def test_words_that_select_nothing_are_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = tool("clean_runs")
    monkeypatch.setattr(clean, "PYTEST", (sys.executable, "-c", "import sys; print('no tests ran'); sys.exit(5)"))
    assert clean.main(["2", "-k", "none"]) == 2
    assert capsys.readouterr().err.startswith("error: -k 'none' selects nothing; pytest said: no tests ran. Give other")


def test_a_noise_run_that_measures_nothing_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = tool("noise")
    monkeypatch.setattr(noise.sys, "executable", "/bin/echo")
    assert noise.main(["-k", "none"]) == 2
    assert capsys.readouterr().err.startswith("error: -k 'none' measured nothing; pytest said: -m pytest benchmarks")


def test_wrong_captions_say_another_thing_of_the_same_scene() -> None:
    from harness.scenes.captions import held_out

    conditions = tool("conditions")
    pairs = [pair for pair in held_out() if len(pair[1].things) == 2][:20]
    said = conditions.spoken([scene for _, scene in pairs], [caption for caption, _ in pairs])
    assert said["right"] == [caption for caption, _ in pairs] and set(said["no caption"]) == {""}
    for scene in (scene for _, scene in pairs):
        exchanged = conditions.exchanged(scene, "colour")
        assert [t.colour for t in exchanged.things] == [t.colour for t in scene.things][::-1]
        assert [t.shape for t in exchanged.things] == [t.shape for t in scene.things]
        assert conditions.exchanged(scene, "places").things == scene.things[::-1]


def test_operations_grow_with_the_steps() -> None:
    import torch

    from harness.targets.resolve import load as load_target
    from harness.targets.resolve import resolve

    generation = tool("generation")
    target = load_target(resolve("scenes"), torch.device("cpu"))
    one, two, eight = (generation.operations(target, "a red circle", steps) for steps in (1, 2, 8))
    assert eight - one == 7 * (two - one) > 0


def test_generation_prints_a_line_per_number_of_steps(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    from tests.pipelines import seeded

    seeded("sd2").save_pretrained(tmp_path / "sd2", safe_serialization=True)
    words = ["--target", str(tmp_path / "sd2"), "--device", "cpu", "--dtype", "float32", "--pictures", "2"]
    assert tool("generation").main([*words, "--batch-size", "2", "--steps", "1", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" steps at 16 px: ")[0].strip() for line in lines[2:]] == ["1", "2"]
    assert all("of the rate of matrix products" in line for line in lines[2:])


def test_generation_refuses_a_wrong_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("generation").main(["--target", "no_such"]) == 2
    assert capsys.readouterr().err.startswith("error: target 'no_such' is unknown")


def test_sparsegpt_loses_least(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reconstruction = tool("reconstruction")
    from harness.workloads import scenes

    captions = scenes.calibration_captions()[:4]
    monkeypatch.setattr(scenes, "calibration_captions", lambda: captions)
    monkeypatch.setattr(reconstruction, "BOTH", ("text_encoder",))
    monkeypatch.setattr(reconstruction, "METHODS", reconstruction.METHODS[:3])
    assert reconstruction.main(["--sparsity", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scenes, sparsity 0.5, 4 calibration captions; share of output energy lost"
    magnitude, wanda, sparsegpt = map(float, lines[2].split()[-3:])
    assert lines[2].startswith("text_encoder: all layers") and sparsegpt < wanda < magnitude
