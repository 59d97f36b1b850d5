"""Curves: a row per target and component, a panel per metric, a line per method, the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.report.curves import can_draw, draw, styles
from pruners import METHODS, Method
from pruners.levels import Pattern
from tests.report.made_up import ENDS, SHARPNESS, cases, everything, registered, results

LEVELS = [0.2, 0.4, 0.6]


def texts(svg: str) -> list[str]:
    """Return the texts of a drawing, which must be well-formed XML."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def lines(svg: str, method: str) -> list[str]:
    """Return the metrics of the panels in which a method has a line."""
    return re.findall(rf'id="line-\d+-{method}-(\w+)"', svg)


def test_one_row_per_component_one_panel_per_metric_one_line_per_method() -> None:
    made = results(*cases("unet", "magnitude", LEVELS), *cases("unet", "sparsegpt", LEVELS),
                   *cases("text_encoder", "owl_wanda", LEVELS))  # fmt: skip
    svg = draw(made)
    shown = texts(svg)
    assert shown.count("unet") == shown.count("text_encoder") == 1
    for name in ENDS:
        assert shown.count(f"{METRICS[name].label} {'↓' if METRICS[name].lower_is_better else '↑'}") == 2
    for method in ("magnitude", "sparsegpt", "owl_wanda"):
        assert sorted(lines(svg, method)) == sorted(ENDS) and shown.count(method) == 1
    assert "wanda" not in shown and "n = 64 captions; bars: ± 1 standard error" in shown


def test_every_registered_method_is_drawn_also_a_user_s() -> None:
    mine = Method("_mine", "pruners.magnitude:prune", "layer", "mine")
    with registered(None, mine):
        svg = draw(results(*(case for method in METHODS for case in cases("unet", method, LEVELS))))
        assert [sorted(lines(svg, method)) for method in METHODS] == [sorted(ENDS)] * len(METHODS)
        # A legend of matplotlib's leaves out names that start with "_".
        assert set(METHODS) <= set(texts(svg))
    assert "_mine" not in styles()


def test_no_two_methods_look_alike_and_a_new_one_changes_no_other() -> None:
    before = styles()
    more = [Method(f"m{i}", f"mine:prune{i}", "layer", "mine", ("uniform", "owl")[i % 2]) for i in range(40)]
    with registered(None, *more):
        assert len(set(styles().values())) == len(METHODS)
        assert {name: styles()[name] for name in before} == before


def test_a_metric_of_the_user_s_has_a_panel() -> None:
    with registered(SHARPNESS):
        svg = draw(results(*cases("unet", "magnitude", LEVELS), ends=ENDS | {"sharpness": (9.0, 1.0)}))
    assert "sharpness ↑" in texts(svg) and "sharpness" in lines(svg, "magnitude")


def test_the_same_results_give_the_same_bytes() -> None:
    first = draw(everything())
    assert draw(everything()) == first
    assert not re.search(r"20\d\d-\d\d-\d\d", first)


def test_patterns_variants_and_several_components_are_no_points_and_are_counted() -> None:
    without = results(*cases("unet", "wanda", LEVELS))
    made = results(
        *cases("unet", "wanda", [*LEVELS, Pattern(2, 4)]),
        Case("scenes", "both", "wanda", "all", (0.1, 0.1)),
        Case("scenes", "unet", "wanda", "all", (0.3,), "early"),
    )

    def points(svg: str) -> Sequence[str]:
        return re.findall(r"<use ", svg)

    assert len(points(draw(made))) == len(points(draw(without)))
    assert any(
        "not drawn: 3 with an N:M pattern, a variant or several components" in text for text in texts(draw(made))
    )
    assert not any("not drawn" in text for text in texts(draw(without)))


def test_lines_start_at_the_dense_model() -> None:
    made = results(*cases("unet", "magnitude", LEVELS))
    without = type(made)(made.cases)
    assert len(re.findall(r"<use ", draw(made))) == len(re.findall(r"<use ", draw(without))) + len(ENDS)


def test_targets_are_told_apart() -> None:
    shown = texts(
        draw(results(*cases("unet", "magnitude", LEVELS), *cases("unet", "magnitude", LEVELS, target="my_$x$")))
    )
    assert "scenes: unet" in shown and "my_$x$: unet" in shown


def test_metrics_can_be_chosen() -> None:
    made = results(*cases("unet", "magnitude", LEVELS))
    assert lines(draw(made, metrics=["clip", "fid"]), "magnitude") == ["clip", "fid"]
    with pytest.raises(HarnessError, match=r"--metrics 'clyp' is unknown; did you mean clip"):
        draw(made, metrics=["clyp"])
    with pytest.raises(HarnessError, match="--metrics ssim: the run has not measured it"):
        draw(made, metrics=["ssim"])


def test_nothing_to_draw_is_one_message() -> None:
    made = results(*cases("unet", "wanda", [Pattern(2, 4)]), *cases("unet", "wanda", LEVELS, "linear"))
    assert can_draw(made, "linear") and not can_draw(made, "all")
    with pytest.raises(HarnessError, match="--layers all: no case of the run prunes one component"):
        draw(made)
    with pytest.raises(HarnessError, match="--layers 'al' is unknown"):
        draw(made, "al")
