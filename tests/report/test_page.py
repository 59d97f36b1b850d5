"""The page of a run: what is red and why, curves, figures and pictures; nothing of a user's text is markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.case import Case
from harness.metrics import METRICS
from harness.report.page import page, write
from harness.results import Results
from pruners import METHODS
from tests.report.made_up import ENDS, SHARPNESS, cases, everything, registered, results

VOID = ("img", "br", "meta")


class Seen(HTMLParser):
    """Reads a page and fails where an element is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += [value or "" for name, value in attrs if (tag, name) == ("img", "src")]
        self._open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []


def test_a_page_with_everything(tmp_path: Path) -> None:
    made = everything()
    path = write(made, tmp_path)
    seen = Seen(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "index.html"
    counted = f"{len(made.cases) + 2} cases, 2 red, n = 64 captions, ± one standard error"
    assert counted in seen.words
    assert seen.words.count("REGRESSION (quality)") == 2 and seen.words.count("CLIP score 90.1 → 85.2 ± 0.3") == 1
    assert seen.words.count("latency: REGRESSION (latency)") == 1 and "1.010 ± 0.020" in seen.words
    for name in ENDS:
        assert METRICS[name].label in seen.words
    assert {"zeros", "s", "MB", "stored", "a red dog", "two blue cups"} <= set(seen.words)
    curves = [name for name in seen.pictures if not name.startswith("rows/")]
    assert curves == ["curves-all.svg", "curves-linear.svg"] and all((tmp_path / name).is_file() for name in curves)
    for result in made.cases:
        assert f"rows/{result.record.case.id}.png" in seen.pictures
    # The dense model stands on top of every group: a method each, and three more.
    assert seen.pictures.count("rows/scenes-none-dense-none-0.00.png") == len(METHODS) + 3


def test_a_green_page_has_no_objections() -> None:
    text = page(results(*cases("unet", "magnitude", [0.5])), {})
    assert "1 case, none red" in text and "What the gates say" not in text
    assert "PASS means: no change against the baseline" in text


def test_a_metric_of_the_user_s_has_a_column_and_a_meaning() -> None:
    with registered(SHARPNESS):
        seen = Seen(page(results(*cases("unet", "magnitude", [0.5]), ends=ENDS | {"sharpness": (9.0, 1.0)}), {}))
    assert seen.words.count("sharpness") == 2 and "8.0 ± 1.4" in seen.words
    assert "edges per pixel; higher is better" in seen.words


@pytest.mark.parametrize("script", ["<script>alert(1)</script>", "</td></table>", "x & y", '"><img src=x>'])
def test_what_users_wrote_is_no_markup(script: str) -> None:
    made = results(*cases("unet", "magnitude", [0.5]))
    stack = replace(made.cases[0].record.conditions.stack, device=script)
    record = replace(made.cases[0].record, conditions=replace(made.cases[0].record.conditions, stack=stack))
    red = replace(made.cases[0], record=record, verdict="REGRESSION (exact)", reason=f"1 < 2 {script}", red=True)
    text = page(replace(made, cases=(red,), captions={"scenes": (script,)}), {})
    seen = Seen(text)
    assert script not in text and seen.words.count(script) == 1
    assert any(f"1 < 2 {script}" in word for word in seen.words) and any(word.startswith(script) for word in seen.words)
    assert [name for name in seen.pictures if not name.startswith("rows/")] == []


def test_a_run_of_one_dense_model_or_of_latencies_alone_has_a_page(tmp_path: Path) -> None:
    made = results(Case("scenes"))
    assert Seen(write(made, tmp_path).read_text(encoding="utf-8")).words.count("scenes: the dense model") == 1
    alone = Results(latencies=everything().latencies)
    assert "2 cases, 1 red" in Seen(page(alone, {})).words
