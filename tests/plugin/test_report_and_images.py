"""`--report` and `--images`: tables, contact sheets, pictures, the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.test_page import Seen


def test_table_sheet_and_pictures(stored: pytest.Pytester) -> None:
    done = stored.runpytest_subprocess("--images", "kept", "--report", "seen")
    done.stdout.fnmatch_lines(
        ["scenes: unet pruned by magnitude, all layers, n = 64", "*sparsity*FID*CLIP score*composition*zeros*verdict"]
    )
    # The dense row is there although no test is of the dense case.
    done.stdout.fnmatch_lines(["*dense*3.00 ± 0.10*", "*0.50*3.00 ± 0.10*60.00 ± 0.10*0.500 ± 0.100*50.0%*PASS"])
    sheets = sorted(p.name for p in (stored.path / "seen").glob("*.png"))
    assert sheets == ["contact-scenes-unet-magnitude-all.png", "contact-scenes-unet-random-all.png"]
    for case in ("scenes-unet-magnitude-all-0.20", "scenes-none-dense-none-0.00"):
        kept = sorted(p.name for p in (stored.path / "kept" / case).iterdir())
        assert kept == ["0000-one.png", "0001-two.png"]


def read(path: Path) -> str:
    text = path.read_text()
    seen = Seen(text)
    assert all(address.startswith("#") for address in seen.addresses)
    assert seen.bodies and all(body["data-own"] for body in seen.bodies)
    return text


def test_page_of_a_run(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.runpytest_subprocess("--report", "seen")
    text = read(stored.path / "seen" / "index.html")
    assert "4 cases" in text and "REGRESSION" not in text and text.count(">PASS<") >= 4
    assert "No figure differs." in text and 'data-behind=""' in text
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -5}')
    done = stored.runpytest_subprocess("--report", "seen", "-k", "magnitude and 0.50")
    done.stdout.fnmatch_lines(["report: seen/index.html"])
    text = read(stored.path / "seen" / "index.html")
    assert "1 red" in text and "clip 60 → 55" in text and "60.00 → 55.00" in text
    # The rows of the green run lie beside the red one's.
    assert all(body["data-behind"] for body in Seen(text).bodies)
