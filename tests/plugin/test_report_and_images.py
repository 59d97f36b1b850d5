"""`--report` and `--images`: tables, contact sheets, pictures."""

from __future__ import annotations

import pytest


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
