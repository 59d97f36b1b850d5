"""The scripts that run models or pytest: their arithmetic, and the embedded model for those that are quick."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from harness.case import Case
from harness.metrics import METRICS
from harness.results import write
from harness.verdict.verdict import Verdict
from tests.report.made_up import cases, results
from tests.tools.loading import load


def tool(name: str) -> Any:
    return load(name)


def test_twenty_green_runs_bound_the_rate_of_false_alarms() -> None:
    assert tool("clean_runs").bound(20) == pytest.approx(0.139, abs=1e-3)
    assert (1 - tool("clean_runs").bound(20)) ** 20 == pytest.approx(0.05)


def test_a_run_of_pytest_that_fails_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = tool("clean_runs")
    ending = "import sys; print('FAILED a::b'); print('=== 1 failed ==='); sys.exit(1)"
    monkeypatch.setattr(clean, "PYTEST", (sys.executable, "-c", ending))
    assert clean.once(["a::b"], "smoke", clean.setting(0)) == (1, "1 failed\nFAILED a::b")


def test_words_that_select_nothing_are_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = tool("clean_runs")
    monkeypatch.setattr(clean, "PYTEST", (sys.executable, "-c", "import sys; print('no tests ran'); sys.exit(5)"))
    assert clean.main(["2", "-k", "none"]) == 2
    assert capsys.readouterr().err.startswith("error: -k 'none' selects nothing; pytest said: no tests ran. Give other")


def test_a_hundred_runs_cover_every_thread_batch_and_kernel_together() -> None:
    clean = tool("clean_runs")
    met = {(s.threads, s.batch, *s.kernels.items()) for s in map(clean.setting, range(84))}
    assert len(met) == len(clean.THREADS) * len(clean.BATCHES) * len(clean.KERNELS) == 84
    assert len({clean.setting(i).hash_seed for i in range(100)}) == 100
    assert clean.bound(100) < 0.03


def test_clean_runs_go_on_where_they_were_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    clean, measured = tool("clean_runs"), []

    def once(ids: list[str], tier: str, settings: Any) -> tuple[int, str]:
        measured.append(settings.hash_seed)
        return int(settings.hash_seed == 3), "done"

    monkeypatch.setattr(clean, "once", once)
    monkeypatch.setattr(clean, "cases", lambda words, tier: ["a::b", "a::c"])
    words = ["--tier", "smoke", "--out", str(tmp_path / "runs.jsonl")]
    assert clean.main(["2", *words]) == 0 and measured == [0, 1]
    assert clean.main(["5", *words]) == 1 and measured == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 5 runs red"
    assert clean.main(["3", "--tier", "pr", "--out", str(tmp_path / "runs.jsonl")]) == 2
    assert "holds runs of -k '' --tier smoke, not of -k 'magnitude' --tier pr" in capsys.readouterr().err
    (tmp_path / "runs.jsonl").write_text("no json")
    assert clean.main(["3", *words]) == 2
    assert "is no file of this tool" in capsys.readouterr().err


def test_a_rung_that_measures_nothing_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    noise = tool("noise")
    monkeypatch.setattr(noise, "CHILD", "no_such.py")
    assert noise.main(["--out", str(tmp_path)]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("error: the rung '2 threads, batch 32' measured nothing; its last line is: ")
    )
    assert noise.main(["--out", str(tmp_path), "--python", "2.12=/no/such"]) == 2
    assert "--python 2.12=/no/such names no interpreter" in capsys.readouterr().err


def rung(folder: Any, name: str, shift: float) -> str:
    """Write the records of a made-up rung: the dense model and three cases, all figures moved by `shift`."""
    made = [Case("scenes"), *cases("unet", "magnitude", [0.3, 0.5]), *cases("unet", "wanda", [0.6])]
    write(folder / f"{name}.json", results(*made, shift=shift))
    return str(folder / f"{name}.json")


def test_tables_and_constants_of_the_ladder_follow_the_rule(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The control: the arithmetic of the rule, for rungs that move every figure by the same known amount."""
    ladder, rule = tool("ladder"), tool("rule")
    first, moved = rung(tmp_path, "first", 0.0), rung(tmp_path, "moved", 0.25)
    assert ladder.main([first, f"X=2=one stack={moved}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith("**")]
    assert len(titles) == 5 and titles[0].startswith("**Shift of the figure")
    shifts = lines[lines.index(titles[0]) : lines.index(titles[1])]
    rows = [line.split(" | ") for line in shifts if line.startswith("| X=2")]
    assert [row[1] for row in rows] == ["dense", "data-free", "calibrated"] and [row[2] for row in rows] == list("121")
    assert all(cell.strip(" |") == "0.25" for row in rows for cell in row[3:])
    (pair, *_) = made = ladder.read_pairs(first, [f"X=one stack={moved}"])
    assert pair.family == "dense"
    constants = rule.constants(METRICS["clip"], made)
    sigma = rule.up(0.25 / math.sqrt(2))
    assert constants["noise"] == sigma == 0.18 and constants["tolerance"] == rule.up(3 * sigma) == 0.54
    assert constants["effect_tolerance"] == constants["tolerance"] and constants["effect_share"] == 0
    # Rungs that stand for another stack widen the tolerance of effect alone.
    elsewhere = rule.constants(METRICS["clip"], ladder.read_pairs(first, [f"X=dtype={moved}"]))
    assert elsewhere["noise"] == 0 and elsewhere["tolerance"] == rule.floor(METRICS["clip"]) == 0.02
    assert elsewhere["effect_tolerance"] >= elsewhere["tolerance"]
    assert rule.main([first, f"X=dtype={moved}"]) == 0
    assert "harness/metrics/clip.py: noise=0, tolerance=0.02" in capsys.readouterr().out
    assert ladder.main([first, f"X=moon={moved}"]) == 2
    assert "give a kind of one stack, kernels" in capsys.readouterr().err


def test_travel_counts_false_alarms_and_missed_defects(capsys: pytest.CaptureFixture[str]) -> None:
    travel = tool("travel")
    (rung, *_) = travel.settings()
    made = results(*cases("unet", "magnitude", [0.3, 0.5, 0.6])).cases
    weak = "moved by 1 (n 64, p 0.01); about 1,250 captions would decide"
    kinds = (
        Verdict("PASS", "all", by_effect=True),
        Verdict("UNDERPOWERED", "effect", weak, by_effect=True),
        Verdict("REGRESSION", "exact", "other weights are pruned"),
    )
    judged = [travel.Judged(result.record, kind, kind, "wrong axis") for result, kind in zip(made, kinds, strict=True)]
    lines = list(travel.unchanged([(rung, judged)]))
    assert f"| {rung.name} | 3 | 2 | 1 | 1 | 1 |" in lines
    assert f"| {made[1].record.case.id} | 1 | 1,250 |" in lines
    assert lines[-1].strip() == f"RED: {rung.name}: {made[2].record.case.id}: REGRESSION: other weights are pruned"
    lines = list(travel.planted([(rung, judged)]))
    assert lines[-1].strip() == "2 of 3 defects were not red."
    assert any(line.startswith("| wrong axis |") and "| REGRESSION (exact) | REGRESSION |" in line for line in lines)
    assert any("| UNDERPOWERED: 1,250 captions would decide |" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "digits", "expected"), [(0.0, 2, 0.0), (0.0131, 2, 0.014), (0.012, 2, 0.012), (7.1e-5, 1, 8e-5)]
)
def test_constants_are_rounded_up(value: float, digits: int, expected: float) -> None:
    assert tool("rule").up(value, digits) == pytest.approx(expected)


def test_records_plant_what_they_say() -> None:
    """The control: the case itself, and Wanda's scores without the defect."""
    import torch

    from pruners import wanda
    from pruners.stats import collect

    records = tool("records")
    both = Case("scenes", "both", "magnitude", "all", (0.475, 0.35))
    higher, _ = records.DEFECTS["sparsity 10 points high"](both)
    assert higher.levels == pytest.approx((0.575, 0.45))
    left, _ = records.DEFECTS["a component left dense"](both)
    assert left.components == ("unet",) and left.levels == (0.35,)
    weight, stats = torch.randn(6, 6), collect(torch.randn(9, 6), False)
    right = wanda.scores(weight, stats)
    with records.DEFECTS["wrong axis"](both)[1]:
        assert not torch.equal(wanda.scores(weight, stats), right)
    assert torch.equal(wanda.scores(weight, stats), right)


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


def test_travel_judges_records_of_another_stack(tmp_path: Any) -> None:
    from harness.results import Result, Results
    from tests.verdict.test_effect import GPU, STORED, dense, pruned

    travel, file = tool("travel"), tmp_path / "moved.json"
    moved = [dense(by=1.0, stack=GPU), pruned(stack=GPU), pruned({"clip": 50.0}, stack=GPU)]
    write(file, Results(cases=tuple(Result(one, "") for one in moved)))
    said = list(travel.judged(file, STORED))
    assert [one.verdict.by_effect for one in said] == [True] * 3
    assert [one.by_effect_alone for one in said][1:] == ["PASS", "REGRESSION"]
