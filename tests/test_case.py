"""Ids are what people type; wrong cases are refused with the nearest right name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.case import Case
from harness.errors import HarnessError
from pruners import METHODS, Method, register
from pruners.levels import Pattern


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (Case("scenes", "unet", "magnitude", "all", (0.35,)), "scenes-unet-magnitude-all-0.35"),
        (Case("scenes", "both", "magnitude", "linear", (0.475, 0.35)), "scenes-both-magnitude-linear-0.475+0.35"),
        (Case("scenes", "unet", "random", "all", (0.5,)), "scenes-unet-random-all-0.50"),
        (Case("scenes", "unet", "magnitude", "all", (1.0,)), "scenes-unet-magnitude-all-1.00"),
        (
            Case("scenes", "both", "owl_magnitude+magnitude", "linear", (0.475, 0.35)),
            "scenes-both-owl_magnitude+magnitude-linear-0.475+0.35",
        ),
        (Case("scenes"), "scenes-none-dense-none-0.00"),
        (Case("scenes", "both", "candidate:bk_small", "all"), "scenes-both-candidate:bk_small-all-given"),
        (
            Case("xl", "text_encoder+text_encoder_2", "magnitude", "all", (0.5, 0.25)),
            "xl-text_encoder+text_encoder_2-magnitude-all-0.50+0.25",
        ),
    ],
)
def test_id(case: Case, expected: str) -> None:
    assert case.id == expected


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -0.1, float("inf")])
def test_wrong_sparsity(bad: float) -> None:
    with pytest.raises(HarnessError, match="is not a number from 0 to 1"):
        Case("scenes", "unet", "magnitude", "all", (bad,))


def test_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(HarnessError, match="did you mean magnitude"):
        Case("scenes", "unet", "magnitud", "all", (0.5,))


def test_both_wants_two_sparsities() -> None:
    with pytest.raises(HarnessError, match="needs 2 sparsities, not 1"):
        Case("scenes", "both", "magnitude", "all", (0.5,))


def test_components_may_have_methods_of_their_own() -> None:
    case = Case("t", "both", "wanda+magnitude", "all", (0.4, Pattern(2, 4)))
    assert case.methods == {"text_encoder": "wanda", "unet": "magnitude"}
    assert Case("t", "both", "wanda", "all", (0.4, 0.3)).methods == {"text_encoder": "wanda", "unet": "wanda"}
    assert Case("t").methods == {}
    for wrong, levels, said in (
        ("wanda+wanda", (0.4, 0.3), "write 'wanda'"),
        ("wanda+magnitud", (0.4, 0.3), "did you mean magnitude"),
        ("wanda+dense", (0.4, 0.3), "method 'dense' is unknown"),
        ("wanda+magnitude+random", (0.4, 0.3), "one method, or 2 methods joined by"),
        ("magnitude+owl_wanda", (0.4, Pattern(2, 4)), "method owl_wanda gives each layer a sparsity of its own"),
    ):
        with pytest.raises(HarnessError, match=said):
            Case("t", "both", wrong, "all", levels)


def test_components_are_written_in_one_way() -> None:
    assert Case("t", "both", "magnitude", "all", (0.4, 0.3)).plan == {"text_encoder": 0.4, "unet": 0.3}
    assert Case("t", "text_encoder_3+transformer", "magnitude", "all", (0.4, 0.3)).components[1] == "transformer"
    for wrong, right in (("text_encoder+unet", "both"), ("unet+text_encoder_2", "text_encoder_2+unet")):
        with pytest.raises(HarnessError, match=f"spelled differently in ids; write '{right}'".replace("+", r"\+")):
            Case("t", wrong, "magnitude", "all", (0.4, 0.3))


def test_a_case_knows_what_its_methods_need() -> None:
    mixed = Case("t", "both", "wanda+magnitude", "all", (0.4, 0.3))
    assert mixed.needs == {"squares"} and mixed.calibrated == ("text_encoder",) and not mixed.moves_weights
    solved = Case("t", "both", "magnitude+sparsegpt", "all", (0.4, 0.3))
    assert solved.needs == {"gram"} and solved.calibrated == ("unet",) and solved.moves_weights
    assert Case("t").needs == frozenset() and Case("t").is_dense and not mixed.is_dense


def test_a_method_is_registered_once_and_checked() -> None:
    with pytest.raises(ValueError, match="method magnitude exists already"):
        register(Method("magnitude", "pruners.wanda:prune", "row", "another"))
    register(METHODS["magnitude"])
    for wrong in (
        {"name": "a-b"}, {"group": "column"}, {"needs": frozenset({"hessian"})},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"other characters|has group|needs"):
            Method(**{"name": "x", "prune": "m:f", "group": "row", "summary": "s"} | wrong)  # type: ignore[arg-type]


def test_collecting_does_not_import_torch() -> None:
    code = "import harness.plugin, benchmarks.matrix, harness.verdict.judge, harness.results, harness.cli, sys; "
    code += "heavy = ('torch', 'diffusers', 'transformers', 'scipy', 'matplotlib', 'jinja2'); "
    code += "sys.exit(any(module in sys.modules for module in heavy))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_candidate_is_given_as_it_is() -> None:
    case = Case("xl", "text_encoder+text_encoder_2+unet", "candidate:mine", "all")
    assert case.candidate == "mine" and case.components == ("text_encoder", "text_encoder_2", "unet")
    assert not case.is_dense and not case.needs and case.methods == case.plan == case.requested == {}
    assert Case("xl").candidate == Case("xl", "unet", "wanda", "all", (0.5,)).candidate == ""
    for name, layers, levels, said in (
        ("", "all", (), "names no candidate; write candidate:NAME"),
        ("a-b", "all", (), "names no candidate; write candidate:NAME"),
        ("a+b", "all", (), "names no candidate; write candidate:NAME"),
        ("mine", "all", (0.5, 0.5), "is given as it is; give layers 'all' and no levels"),
        ("mine", "linear", (), "is given as it is; give layers 'all' and no levels"),
    ):
        with pytest.raises(HarnessError, match=said):
            Case("scenes", "both", f"candidate:{name}", layers, levels)
