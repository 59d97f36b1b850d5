"""`--report` and `--images`: tables, contact sheets, pictures, the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest


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


class Seen(HTMLParser):
    """What of a page matters here: pictures, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += [value or "" for name, value in attrs if (tag, name) == ("img", "src")]
        self.open += [tag] if tag not in ("img", "br", "meta", "link") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(path: Path) -> str:
    seen = Seen()
    text = path.read_text()
    seen.feed(text)
    assert not seen.open
    rows = [name for name in seen.pictures if name.startswith("rows/")]
    assert rows and all((path.parent / name).is_file() for name in seen.pictures)
    return text


def test_page_of_a_run(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.runpytest_subprocess("--report", "seen")
    text = read(stored.path / "seen" / "index.html")
    assert "4 cases" in text and "REGRESSION" not in text and text.count(">PASS<") >= 4
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -5}')
    done = stored.runpytest_subprocess("--report", "seen", "-k", "magnitude and 0.50")
    done.stdout.fnmatch_lines(["report: seen/index.html"])
    text = read(stored.path / "seen" / "index.html")
    assert "1 red" in text and "clip 60 → 55" in text
