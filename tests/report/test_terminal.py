"""The lines and tables of a run: every measured metric has a column, also a user's metric."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.measurement import Measurement
from harness.metrics import METRICS
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
    assert below[-1].startswith("PASS means: no change against the baseline. To see whether quality holds")
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
