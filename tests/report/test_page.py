"""The page of a run: what is red and why, curves, figures and pictures; nothing of a user's text is markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from harness import files, png
from harness.case import Case
from harness.measurement import Measurement
from harness.metrics import METRICS
from harness.report import behind
from harness.report.page import Pictures, page, write
from harness.results import Results
from pruners import METHODS
from tests.report.made_up import ENDS, SHARPNESS, answered, cases, everything, pictured, registered, results

VOID = ("img", "br", "meta", "input", "link")


class Seen(HTMLParser):
    """Reads a page and fails where an element is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.bodies: list[dict[str, str]] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in ("src", "href", "xlink:href") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        self.bodies += [values] if tag == "tbody" else []
        self.shown += re.findall(r"\bs\d+\b", values.get("class", ""))
        self._open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, str]:
    """Return results with everything, and their page."""
    folder = tmp_path_factory.mktemp("report")
    made = pictured(everything(), folder)
    path = write(made, folder)
    assert path == folder / "index.html"
    return made, path.read_text(encoding="utf-8")


def test_a_page_with_everything(whole: tuple[Results, str]) -> None:
    made, text = whole
    seen = Seen(text)
    assert f"{len(made.cases) + 2} cases, 2 red, n = 64 captions, ± one standard error" in seen.words
    assert seen.words.count("CLIP score 90.1 → 85.2 ± 0.3") == 1
    assert seen.words.count("latency: REGRESSION (latency)") == 1 and "1.010 ± 0.020" in seen.words
    for name in ENDS:
        assert METRICS[name].label in seen.words
    assert {"zeros", "s", "MB", "stored", "caption 0"} <= set(seen.words)
    # Every case once, the dense models first; each with its own pictures and the dense model's.
    ids = [body["data-case"] for body in seen.bodies]
    assert ids[:2] == ["scenes-none-dense-none-0.00", "mine-none-dense-none-0.00"]
    assert sorted(ids[2:]) == sorted(result.record.case.id for result in made.cases)
    assert len({body["data-own"] for body in seen.bodies} - {""}) == len(ids)
    assert {body["data-dense"] for body in seen.bodies} == {body["data-own"] for body in seen.bodies[:2]}
    assert set(seen.shown) == {body["data-own"] for body in seen.bodies}


def test_a_page_is_one_file(whole: tuple[Results, str]) -> None:
    """Control: everything that the page names lies inside it, and no name is there twice."""
    _, text = whole
    seen = Seen(text)
    assert all(address.startswith("#") for address in seen.addresses)
    assert set(re.findall(r"url\((.{5})", text)) <= {"data:", *(m[:5] for m in re.findall(r"url\((#\w+)\)", text))}
    own = [name for name in seen.ids if not re.fullmatch(r"[mp][0-9a-f]{8,}", name)]
    assert len(own) == len(set(own))
    links = {address[1:] for address in seen.addresses}
    assert links <= set(seen.ids) and "case-scenes-unet-magnitude-all-0.40" in links


def test_curves_show_every_method_its_baseline_and_its_threshold() -> None:
    made = everything()
    stored = [replace(r, baseline=r.record.quality) for r in made.cases]
    text = page(answered(replace(made, cases=tuple(stored))))
    for name in METHODS:
        for metric in ENDS:
            assert f'id="line-scenes.unet.all-{name}-{metric}"' in text
            assert f'id="behind-scenes.unet.all-{name}-{metric}"' in text
            assert (f'id="holds-scenes.unet.all-{name}-{metric}"' in text) == (metric in ("fid", "clip", "composition"))
    assert "<title>wanda 0.20: CLIP score" in text and "; baseline " in text
    seen = Seen(text)
    assert seen.words.count("scenes-unet-wanda-all") == 1 and "No figure differs." in seen.words


def test_what_changed_most_is_first_and_says_how_much() -> None:
    made = results(*cases("unet", "magnitude", [0.2, 0.4]))
    small, large = made.cases
    before = {name: replace(m, value=m.value + 0.01) for name, m in small.record.quality.items()}
    clip = large.record.quality["clip"]
    stored = {"clip": Measurement(99, 1, 64)}
    moved = replace(made, cases=(replace(small, baseline=before), replace(large, baseline=stored)))
    (first, *others) = behind.changes(moved, behind.baselines(moved))
    assert (first.case, first.metric.name, first.worse) == (large.record.case.id, "clip", True)
    assert first.tolerances == pytest.approx((99 - clip.value) / 0.02) and first.text == f"99.00 → {clip.value:.2f}"
    assert len(others) == len(before) and all(one.tolerances < first.tolerances for one in others)
    shown = Seen(page(moved)).words
    assert "99.00 → " + f"{clip.value:.2f}" in shown and "> 100" in shown and "-0.010" in shown


def test_pictures_are_those_of_the_run_and_of_the_last_green_one(tmp_path: Path) -> None:
    made = pictured(results(*cases("unet", "magnitude", [0.2, 0.4])), tmp_path, green=True)
    bodies = Seen(page(made, Pictures((tmp_path,)))).bodies
    assert all(body["data-own"] and body["data-behind"] not in ("", body["data-own"]) for body in bodies)
    # A later run has written other pictures over one row.
    files.write(tmp_path / "rows" / "scenes-unet-magnitude-all-0.40.png", png.encode(Image.new("RGB", (1152, 96))))
    _, first, second = Seen(page(made, Pictures((tmp_path,)))).bodies
    assert first["data-own"] and not second["data-own"] and not second["data-behind"]
    assert not any(body["data-own"] for body in Seen(page(made)).bodies)


def test_pictures_of_all_captions_are_larger_and_belong_to_the_run(tmp_path: Path) -> None:
    """Control: pictures of `--images` whose first one is not the row's are of another run."""
    made = pictured(losing(), tmp_path)
    without = page(made, Pictures((tmp_path,)))
    assert "not kept" in without
    for case in made.rows:
        for i in range(64):
            colour = (250, 250, 0) if i == 0 else (i, 2 * i, 3 * i)
            files.write(tmp_path / "kept" / case / f"{i:04d}-x.png", png.encode(Image.new("RGB", (8, 8), colour)))
    whole = page(made, Pictures((tmp_path, tmp_path / "kept")))
    assert "not kept" not in whole and len(whole) > len(without)
    for case in made.rows:
        files.write(tmp_path / "kept" / case / "0000-x.png", png.encode(Image.new("RGB", (8, 8), (9, 9, 9))))
    assert "not kept" in page(made, Pictures((tmp_path, tmp_path / "kept")))


def losing() -> Results:
    """Return results whose captions 40 and 3 lost most; all others lost nothing."""
    made = results(*cases("unet", "magnitude", [0.4]))
    dense, own = made.dense["scenes"], made.cases[0].record
    before, after = [50.0] * 64, [50.0] * 64
    after[40], after[3], after[7] = 10.0, 30.0, 60.0
    return replace(
        made,
        dense={"scenes": replace(dense, paired={**dense.paired, "clip": before})},
        cases=(replace(made.cases[0], record=replace(own, paired={**own.paired, "clip": after})),),
        captions={"scenes": tuple(f"caption {i}" for i in range(64))},
    )


def test_the_captions_that_lost_most_are_named_in_order() -> None:
    made = losing()
    words = [word for word in Seen(page(made)).words if re.match(r"\d+\. caption", word)]
    assert words == ["41. caption 40", "4. caption 3"]
    grouped = replace(made, captions={"scenes": ("one", "two")})
    assert "captions that lost most" not in Seen(page(grouped)).words


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    before = pictured(results(*cases("unet", "magnitude", [0.2, 0.4, 0.6])), tmp_path / "a")
    after = pictured(results(*cases("unet", "magnitude", [0.2, 0.4]), shift=-2.0), tmp_path / "b")
    shown = page(after, Pictures((tmp_path / "a", tmp_path / "b"), before.rows), behind.run("main", before, after))
    seen = Seen(shown)
    assert "Compared with main." in seen.words and "Largest changes against main" in seen.words
    assert any("scenes-unet-magnitude-all-0.60" in word for word in seen.words if word.startswith("Not in this run"))
    assert any(word.startswith("REGRESSION (CLIP score") for word in seen.words) and "-2.00" in seen.words
    (data,) = (json.loads(word) for word in seen.words if word.startswith('{"'))
    first, second, third = data["scores"]["scenes-unet-magnitude-all-0.20"]
    assert data["behind"] == "main" and third["CLIP score"][0] == pytest.approx(second["CLIP score"][0] - 2)
    assert set(first) == {"CLIP score", "composition", "drift"}


def test_a_green_page_has_no_objections() -> None:
    text = page(results(*cases("unet", "magnitude", [0.5])))
    assert "1 case, none red" in text and "What the gates say" not in text
    assert "PASS means: no change against the baseline" in text
    assert "Largest changes" not in text and "The largest sparsity that holds" not in text


def test_a_run_without_a_metric_of_the_budget_has_no_thresholds() -> None:
    made = results(*cases("unet", "magnitude", [0.2, 0.4, 0.6]), ends={"drift": ENDS["drift"]})
    assert "The largest sparsity that holds" not in page(answered(made))
    assert "The largest sparsity that holds" in page(answered(results(*cases("unet", "magnitude", [0.2, 0.4, 0.6]))))


def test_a_metric_of_the_user_s_has_a_column_and_a_meaning() -> None:
    with registered(SHARPNESS):
        seen = Seen(page(results(*cases("unet", "magnitude", [0.5]), ends=ENDS | {"sharpness": (9.0, 1.0)})))
    assert seen.words.count("sharpness") == 2 and "8.0 ± 1.4" in seen.words
    assert "edges per pixel; higher is better" in seen.words


@pytest.mark.parametrize("script", ["<script>alert(1)</script>", "</td></table>", "x & y", '"><img src=x>'])
def test_what_users_wrote_is_no_markup(script: str) -> None:
    made = results(*cases("unet", "magnitude", [0.5]))
    stack = replace(made.cases[0].record.conditions.stack, device=script)
    record = replace(made.cases[0].record, conditions=replace(made.cases[0].record.conditions, stack=stack))
    red = replace(made.cases[0], record=record, verdict="REGRESSION (exact)", reason=f"1 < 2 {script}", red=True)
    text = page(replace(made, cases=(red,), captions={"scenes": (script,)}))
    seen = Seen(text)
    assert script not in text and seen.words.count(script) == 1
    assert any(f"1 < 2 {script}" in word for word in seen.words) and any(word.startswith(script) for word in seen.words)
    assert all(address.startswith("#") for address in seen.addresses)


def test_a_run_of_one_dense_model_or_of_latencies_alone_has_a_page(tmp_path: Path) -> None:
    made = results(Case("scenes"))
    bodies = Seen(write(made, tmp_path).read_text(encoding="utf-8")).bodies
    assert [body["data-case"] for body in bodies] == ["scenes-none-dense-none-0.00"]
    alone = Results(latencies=everything().latencies)
    assert "2 cases, 1 red" in Seen(page(alone)).words
