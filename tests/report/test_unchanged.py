"""Reports of `--changed`: figures of the baseline, no seconds, and no pictures where nobody made any."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from harness import files
from harness.record import SPARED, Cost
from harness.report.page import Pictures, page
from harness.report.pictures import contact_sheets
from harness.report.terminal import case_line
from harness.results import Result, Results
from tests.report.made_up import cases, pictured, results


def spared(made: Results, *levels: str) -> Results:
    """Return results in which the cases of these levels made no pictures."""
    nothing = Cost(None, None, None, None, SPARED)
    changed = [
        Result(replace(r.record, cost=nothing), "UNCHANGED") if r.record.case.level in levels else r for r in made.cases
    ]
    return replace(made, cases=tuple(changed))


def test_a_sheet_has_no_row_of_an_unchanged_case(tmp_path: Path) -> None:
    """Control: with all rows there, the sheet of the same cases is one row higher."""
    made = results(*cases("unet", "magnitude", [0.2, 0.4]))
    row = io.BytesIO()
    Image.new("RGB", (192, 96)).save(row, "PNG")
    for record in (made.dense["scenes"], *(r.record for r in made.cases)):
        files.write(tmp_path / "rows" / f"{record.case.id}.png", row.getvalue())
    heights = []
    for shown in (made, spared(made, "0.20")):
        (sheet,) = contact_sheets(shown, tmp_path)
        heights.append(Image.open(sheet).height)
    assert heights[0] - heights[1] == 96
    assert contact_sheets(spared(made, "0.20", "0.40"), tmp_path) == []


def test_page_and_line_of_an_unchanged_case(tmp_path: Path) -> None:
    made = spared(pictured(results(*cases("unet", "magnitude", [0.2, 0.4])), tmp_path), "0.20")
    text = page(made, Pictures((tmp_path,)))
    assert '<td class="l verdict green" data-label="verdict">UNCHANGED</td>' in text
    assert 'aria-label="scenes-unet-magnitude-all-0.40: caption 0"' in text
    assert 'aria-label="scenes-unet-magnitude-all-0.20: caption 0"' not in text
    line = case_line(made.cases[0])
    assert line.endswith("UNCHANGED") and " s " not in line and "CLIP score" in line
