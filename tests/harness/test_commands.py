"""`python -m harness compare` and `curves`, as a person calls them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.case import Case
from harness.measurement import Measurement
from harness.record import Record, read_records
from harness.report.curves import Scale, draw


def run_file(path: Path, shift: float = 0.0) -> Path:
    """Write what `--benchmark-json` would, with a dense case and four pruned ones."""
    benchmarks = []
    for level in (None, 0.2, 0.4, 0.6, 0.8):
        scores = [90.0 - (40 * level if level else 0) + i % 7 + shift for i in range(64)]
        quality = {
            "fid": Measurement(17.0 + (level or 0), 1.0, 64),
            "clip": Measurement(sum(scores) / 64, 1.0, 64),
            "composition": Measurement(0.5, 0.1, 64),
            "fid_dense": Measurement(5.0, 1.0, 64),
            "drift": Measurement(1.0, 0.1, 64),
        }
        counts = {"parameters": 200, "targeted": 100, "zeros": 100 * (level or 0), "sparsity_targeted": level or 0.0}
        record = Record(
            (Case("scenes") if level is None else Case("scenes", "unet", "magnitude", "all", (level,))).id,
            "workload",
            {"keep": "0" * 64, "components": {"unet": counts}, "rounding": {"unet": 0.0}},
            {} if level is None else {"unet": level},
            quality, {}, 0, {}, None, "",
            per_caption={"clip": scores, "composition": [0.0, 1.0] * 32, "drift": [1.0] * 64},
            resampled={name: [17.0 + i / 10 for i in range(8)] for name in ("fid", "fid_dense")},
        )  # fmt: skip
        benchmarks.append({"extra_info": record.to_json() | {"known_to_a_later_version": 1}})
    benchmarks.append({"extra_info": {"ratio_to_dense": {}}})
    path.write_text(json.dumps({"benchmarks": benchmarks}))
    return path


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = run_file(tmp_path / "a.json"), run_file(tmp_path / "b.json", shift=-1)
    assert main(["compare", str(before), str(before)]) == 0
    assert "5 cases: 5 PASS" in capsys.readouterr().out
    assert main(["compare", str(before), str(after), "--markdown"]) == 1
    shown = capsys.readouterr().out
    assert "| scenes-unet-magnitude-all-0.40 | +0.000 ± 0.000 | +0.000 ± 0.000 | -1.000 ± 0.000 |" in shown
    assert "REGRESSION (CLIP score)" in shown
    assert main(["compare", str(after), str(before)]) == 0
    assert "5 IMPROVED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "[]", '{"benchmarks": []}', '{"benchmarks": [{"extra_info": {"quality": 1}}]}']
)
def test_a_file_that_is_no_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "missing.json")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and len(shown.err.splitlines()) == 1 and not shown.out


def test_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = run_file(tmp_path / "a.json"), tmp_path / "curves.svg"
    assert main(["curves", str(source), "--out", str(out)]) == 0
    drawn = out.read_text()
    assert drawn.startswith("<svg") and "CLIP score" in drawn and "n = 64" in drawn
    assert drawn.count('font-weight="bold">unet:') == 3 and ">magnitude<" in drawn
    assert main(["curves", str(source), "--layers", "linear", "--out", str(out)]) == 2
    assert "no case with the layers 'linear'" in capsys.readouterr().err


def test_curves_have_a_row_per_component_and_a_line_per_method(tmp_path: Path) -> None:
    one = read_records(run_file(tmp_path / "a.json"))
    other = [
        replace(r, case=Case("scenes", part, method, "all", (level,)).id, requested={part: level})
        for r in one
        if r.requested
        for part, method in (("text_encoder", "owl_wanda"), ("unet", "sparsegpt"))
        for level in r.requested.values()
    ]
    drawn = draw([*one, *other, replace(other[0], case="scenes-unet-wanda-all-2:4", requested={"unet": 0.5})])
    assert [drawn.count(f'"bold">{part}:') for part in ("text_encoder", "unet")] == [3, 3]
    assert drawn.count("<circle") == 3 * 5 * 3 and drawn.count(">owl_wanda<") == 1 and ">wanda<" not in drawn


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.9), (-0.02, 0.93), (17, 143), (0, 9.9), (5, 5.00001)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = Scale(low, high, 0).ticks()
    assert 3 <= len(ticks) <= 8 and all(low - 1e-6 <= tick <= high + 1e-6 for tick in ticks)
