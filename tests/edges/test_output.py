"""What a newcomer sees: words explained where they first appear, digits that say something, a page that fits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import report
from harness.measurement import Measurement, decimals
from harness.metrics import METRICS
from harness.report.groups import columns_of, groups
from harness.report.page import page
from harness.report.terminal import case_line, introduction, latency_line, tables
from harness.results import LatencyResult, Result, Results
from harness.verdict.compare import compare, lines
from tests.report.made_up import cases, everything, results
from tests.verdict.made_up import CASE, STACK, record
from tests.verdict.test_compare import run as run_of

# FID on the features of a CLIP: unit vectors are close to each other.
SMALL = {"fid": (0.131, 0.164), "fid_dense": (0.0, 0.05), "clip": (31.2, 30.1), "drift": (0.0, 0.4)}


def small() -> Results:
    """Return results whose FID is far below one."""
    made = results(*cases("unet", "magnitude", [0.5, 0.9]), ends=SMALL)

    def shrunk(result: Result) -> Result:
        quality = {name: Measurement(m.value, m.se / 100, m.n) for name, m in result.record.quality.items()}
        return replace(result, record=replace(result.record, quality=quality))

    dense = {name: shrunk(Result(one, "")).record for name, one in made.dense.items()}
    return replace(made, cases=tuple(map(shrunk, made.cases)), dense=dense)


@pytest.mark.parametrize(
    ("figures", "least", "wanted"),
    [
        ([(17.9, 2.62)], 2, 2),
        ([(0.131, 0.0042)], 2, 4),
        ([(0.131, 0.0042), (0.2, 0.032)], 2, 3),
        ([(93.4, 0.1)], 2, 2),
        ([(0.0004, 0.0)], 2, 5),
        ([(0.0, 0.0)], 3, 3),
        ([(1e-12, 3e-12)], 2, 2),
        ([(1.0, 3e-6)], 2, 6),
        ([], 2, 2),
    ],
)
def test_digits_follow_the_largest_standard_error(figures: list[tuple[float, float]], least: int, wanted: int) -> None:
    assert decimals(figures, least) == wanted


def test_small_figures_have_digits_in_tables_lines_and_page() -> None:
    made = small()
    table = tables(made)
    fid = [
        re.search(r"0\.1\d+ ± 0\.\d+", line) for line in table if line.lstrip().startswith(("dense", "0.50", "0.90"))
    ]
    shown = [match[0] for match in fid if match]
    assert len(shown) == 3 and all(len(text.split(" ± ")[1]) == 6 for text in shown), shown
    assert "0.00 ± 0.00" not in "\n".join(table)
    assert "FID 0.1551  CLIP score 30.3981 " in case_line(made.cases[1])
    text = page(made)
    assert all(cell in text for cell in shown) and "0.00 ± 0.00" not in text


def test_the_usual_figures_have_the_usual_digits() -> None:
    made = results(*cases("unet", "magnitude", [0.5]))
    (group,) = groups(made)
    digits = {column.name: column.write(made.dense["scenes"]) for column in group.columns}
    assert (digits["FID"], digits["drift"], digits["composition"]) == ("17.90 ± 0.04", "0.00", "0.840 ± 0.004")


def test_small_changes_have_digits_in_compare() -> None:
    before, after = record(values={"fid": 0.1310}), record(values={"fid": 0.1313})
    text = "\n".join(lines(compare(run_of(before), run_of(after)), markdown=False))
    assert "+0.00030 ± 0.00000" in text and text.count("+0.000 ± 0.000 ") == 4


def test_a_sharp_latency_has_digits() -> None:
    line = latency_line(LatencyResult(CASE, Measurement(1.0, 0.00021, 12), STACK, "PASS"))
    assert "latency 1.00000 ± 0.00021 of dense" in line


def test_the_first_screen_explains_the_lines_and_what_pass_means(stored: pytest.Pytester) -> None:
    for workers in ([], ["-n2"]):
        shown = stored.runpytest_subprocess(*workers).stdout.lines
        first = next(i for i, line in enumerate(shown) if line.startswith("scenes-unet-"))
        before = " ".join(shown[:first])
        for words in (
            "FID (distance to the reference pictures)",
            "composition (share of pictures with everything right)",
            "s (seconds of generating)",
            "holds (is quality still the dense model's)",
            "PASS means: no change against the baseline. It does not mean that quality holds.",
        ):
            assert before.count(words) == 1, (words, before)
        assert " ".join(shown).count("A line per case: ") == 1


def test_the_first_screen_is_quiet_where_it_should_be(stored: pytest.Pytester) -> None:
    for options in (["-q"], ["--collect-only"]):
        assert "A line per case" not in stored.runpytest_subprocess(*options).stdout.str()
    stored.makepyfile(test_toy="def test_nothing(): pass")
    assert "A line per case" not in stored.runpytest_subprocess().stdout.str()


def test_metrics_that_no_target_has_are_not_explained(stored: pytest.Pytester) -> None:
    headlines = [metric for metric in METRICS.values() if metric.headline and "composition" not in metric.takes]
    assert "composition" not in " ".join(introduction(headlines))
    assert all(len(line) <= 120 for line in introduction(list(METRICS.values())))


def of(n: int) -> Results:
    """Return results over n captions."""
    made = results(*cases("unet", "magnitude", [0.5]))
    quality = {name: replace(m, n=n) for name, m in made.cases[0].record.quality.items()}
    return replace(made, cases=(replace(made.cases[0], record=replace(made.cases[0].record, quality=quality)),))


@pytest.mark.parametrize(("n", "warned"), [(16, True), (31, True), (32, False), (64, False)])
def test_few_captions_are_said_to_show_change_only(n: int, warned: bool) -> None:
    table, text = "\n".join(tables(of(n))), page(of(n))
    warning = f"n = {n} is below 32: the figures show whether something has changed. They do not rank methods"
    assert (warning in table, warning in text, "for change only" in table) == (warned, warned, warned)


STYLE = (Path(report.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")


def wide() -> Results:
    """Return results with five metrics, degenerate pictures, and the longest id, verdict and reason."""
    made = everything()
    blank = replace(made.cases[0].record, degenerate=64)
    reason = "store it with `pytest " + "--scorer=" + "x" * 300 + "`"
    red = replace(made.cases[0], record=blank, verdict="UNDERPOWERED (quality)", reason=reason, red=True)
    return replace(made, cases=(red, *made.cases[1:]))


def test_the_table_of_the_page_fits_into_1200_pixels() -> None:
    (size,) = re.findall(r"table {[^}]*font-size: (\d+)px", STYLE)
    padding = re.findall(r"th, td {[^}]*padding: 2px (\d+)px", STYLE)[0]
    # Figures in a sans-serif font take 0.55 of its size; the body leaves 1,160 pixels between its margins.
    made = wide()
    records = [result.record for result in made.cases]
    columns = [[column.name, *(column.write(one) for one in records)] for column in columns_of(records)]
    columns += [["0.475+0.35"], ["UNDERPOWERED"], ["-" * 20]]
    widths = [
        max(max(map(len, cell.split(" ± "))) if "." not in cell else len(cell) for cell in cells) for cells in columns
    ]
    assert sum(width * 0.55 * int(size) + 2 * int(padding) for width in widths) <= 1160
    assert re.search(r"td\.id, td\.why {[^}]*overflow-wrap: anywhere", STYLE)
