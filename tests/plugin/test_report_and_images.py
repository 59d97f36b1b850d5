"""`--report` and `--images`: tables, contact sheets, pictures, the page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.measurement import Measurement
from harness.record import Record
from harness.report.page import Result, page


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


class Seen(HTMLParser):
    """What of a page matters here: pictures, headings' texts, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += [value or "" for name, value in attrs if (tag, name) == ("img", "src")]
        self.open += [tag] if tag not in ("img", "br", "meta") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(path: Path) -> tuple[str, Seen]:
    seen = Seen()
    seen.feed(path.read_text())
    assert not seen.open
    assert all((path.parent / name).is_file() for name in seen.pictures)
    return path.read_text(), seen


def test_page_of_a_run(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.runpytest_subprocess("--report", "seen")
    text, seen = read(stored.path / "seen" / "index.html")
    assert "4 cases, none red, n = 64 captions" in text and "What the gates say" not in text
    assert len(seen.pictures) == 6 and text.count(">PASS</td>") == 4
    monkeypatch.setenv("TOY_SHIFT", '{"clip": -5}')
    found = stored.runpytest_subprocess("--report", "seen", "-k", "magnitude and 0.50")
    found.stdout.fnmatch_lines(["report: seen/index.html"])
    text, seen = read(stored.path / "seen" / "index.html")
    assert "1 case, 1 red" in text and "clip 60 → 55" in text and text.count("REGRESSION (quality)") == 2


def test_page_escapes_what_users_wrote() -> None:
    record = Record(
        "a<b-unet-magnitude-all-0.50", "", {"components": {"unet": {"zeros": 5, "targeted": 10}}}, {"unet": 0.5},
        {"clip": Measurement(-0.001, 1, 8)}, {}, 0, {}, None, "", conditions={"device": "<gpu>"},
    )  # fmt: skip
    latency = {
        "case": "a<b",
        "ratio": {"value": 1.0, "se": 0.1, "n": 12},
        "verdict": "PASS",
        "reason": "",
        "red": False,
    }
    text = page([Result(record, "REGRESSION (exact)", "1 < 2", True)], [latency], {}, {"a<b": ["<script>", "x & y"]})
    Seen().feed(text)
    assert "<script>" not in text and "<gpu>" not in text and "a<b" not in text
    assert "1 &lt; 2" in text and "0.00 ± 1.00" in text and "-0.00" not in text and "50.0%" in text
