"""The lines and tables of a run: every measured metric has a column, also a user's metric."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.holding import HeldTo, Holding, Loss
from harness.measurement import Measurement
from harness.metrics import METRICS
from harness.report.groups import rounded
from harness.report.page import page
from harness.report.terminal import case_line, figure, latency_line, tables
from harness.results import Results
from pruners.levels import Pattern
from tests.report.made_up import ENDS, SHARPNESS, cases, everything, registered, results

SHARP = ENDS | {"sharpness": (9.0, 1.0)}


def test_a_finished_case_shows_its_headline_metrics_seconds_and_verdict() -> None:
    (result,) = results(*cases("unet", "magnitude", [0.5])).cases
    line = case_line(result)
    assert line.startswith("scenes-unet-magnitude-all-0.50   ") and line.endswith("5.0 s  PASS")
    for metric in METRICS.values():
        shown = f"{metric.label} " in line
        assert shown == (metric.headline and metric.name in ENDS), metric.name


def test_a_case_from_the_store_is_kept_and_has_no_memory() -> None:
    made = results(*cases("unet", "magnitude", [0.5]))
    cost = replace(made.cases[0].record.cost, generate_seconds=None, tensor_megabytes=None)
    kept = replace(made.cases[0], record=replace(made.cases[0].record, cost=cost))
    assert "  kept  PASS" in case_line(kept)
    row = next(line for line in tables(replace(made, cases=(kept,))) if line.lstrip().startswith("0.50"))
    assert row.split()[-4:] == ["kept", "-", "14.2", "PASS"]


def test_tables_have_a_row_per_level_the_dense_model_on_top_and_every_metric() -> None:
    made = results(*cases("unet", "wanda", [0.5, Pattern(2, 4), 0.25]), *cases("text_encoder", "random", [0.5]))
    lines = tables(made)
    first, second = (lines.index(f"scenes: {what}, all layers, n = 64") for what in
                     ("text_encoder pruned by random", "unet pruned by wanda"))  # fmt: skip
    assert first < second
    head, *rows = lines[second + 1 : second + 6]
    assert [row.split()[0] for row in rows] == ["dense", "0.25", "0.50", "2:4", *[]][: len(rows)]
    assert all(METRICS[name].label in head for name in ENDS) and "SSIM" not in head
    assert "17.90 ± 0.04" in rows[0] and rows[1].split()[-5:] == ["25.0%", "5.0", "55.6", "14.2", "PASS"]
    assert rows[0].split()[-4:] == ["-", "5.0", "55.6", "14.2"]
    widths = {len(row.removesuffix("PASS").rstrip()) for row in rows}
    assert widths == {len(head.removesuffix("verdict").rstrip())}


def test_a_metric_of_the_user_s_has_a_column_a_meaning_and_a_place_in_the_line() -> None:
    with registered(SHARPNESS):
        made = results(*cases("unet", "magnitude", [0.5]), ends=SHARP)
        assert "sharpness   8.0" in case_line(made.cases[0])
        lines = tables(made)
        assert lines[2].split()[-6] == "sharpness"
        assert any("  sharpness ↑  edges per pixel" in line for line in lines)
    with pytest.raises(HarnessError, match="metric 'sharpness' is in the results but not registered"):
        tables(made)


def test_the_legend_explains_every_column_and_what_pass_means() -> None:
    lines = tables(everything())
    below = lines[len(lines) - lines[::-1].index("") :]
    marks = {METRICS[name].label: " ↓" if METRICS[name].lower_is_better else " ↑" for name in ENDS}
    for name, mark in {**marks, **dict.fromkeys(("zeros", "s", "MB", "stored"), "")}.items():
        assert sum(f" {name}{mark}  " in f" {line}" for line in below) == 1, name
    assert below[-2] == "↓ lower is better, ↑ higher is better, ± one standard error."
    assert below[-1] == "PASS means: no change against the baseline. It does not mean that quality holds."
    assert len(below) == 7 and max(map(len, below)) <= 120


def test_only_dense_models_make_no_table() -> None:
    made = results(*cases("unet", "magnitude", [0.5]))
    assert tables(Results()) == []
    assert tables(replace(made, cases=(replace(made.cases[0], record=made.dense["scenes"]),))) == []


def test_a_latency_line() -> None:
    line = latency_line(everything().latencies[1])
    assert line.endswith("latency 1.010 ± 0.020 of dense, 12 rounds  REGRESSION (latency)")


def test_a_rounded_figure_has_no_minus_zero() -> None:
    assert figure(Measurement(-0.001, 1, 8), 2) == "0.00 ± 1.00"


def answered(answer: str, captions: int = 0) -> Holding:
    return Holding(answer, (Loss("clip", 0.4, 0.2, 0.5, answer, captions),))


def test_whether_quality_holds_stands_beside_pass() -> None:
    made = results(*cases("unet", "magnitude", [0.3, 0.5, 0.9]))
    answers = (answered("yes"), answered("undecided", 381), answered("no"))
    told = [replace(result, holding=held) for result, held in zip(made.cases, answers, strict=True)]
    done = replace(made, cases=tuple(told), budget={"clip": 0.5, "fid": 2.0},
                   held=(HeldTo("scenes-unet-magnitude-all", 0.3, 0.0, 0.5, 0.9, 3),))  # fmt: skip
    lines = tables(done)
    rows = [line.split() for line in lines if line.lstrip()[:4] in ("0.30", "0.50", "0.90", "dens", "spar")]
    assert rows[0][-2:] == ["holds", "verdict"] and "PASS" not in rows[1]
    assert [row[-2] for row in rows[2:]] == ["yes", "390", "no"] and rows[3][-3] == "?"
    assert {row[-1] for row in rows[2:]} == {"PASS"}
    assert "quality holds up to 0.30 (95 % interval 0.00 to 0.50)" in [line.strip() for line in lines]
    legend = " ".join(lines)
    assert "holds: is every loss against dense at most CLIP score 0.5, FID 2? yes and no: with 95 % certainty" in legend
    assert case_line(done.cases[2]).split()[-3:] == ["holds", "no", "PASS"]
    seen = page(done)
    assert (
        'data-label="holds">? 390</td>' in seen
        and "any lower sparsity that was measured: CLIP score 0.5, FID 2." in seen
    )


@pytest.mark.parametrize(
    ("captions", "text"), [(64, "64"), (381, "390"), (8911, "9,000"), (99_999, "100,000"), (10**9, "> 100,000")]
)
def test_captions_are_rounded_up(captions: int, text: str) -> None:
    assert rounded(captions) == text
