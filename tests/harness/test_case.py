"""Ids are what people type; wrong cases are refused with the nearest right name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.matrix import quality_cases
from harness.case import Case
from harness.errors import HarnessError
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
    with pytest.raises(HarnessError, match="give a number from 0 to 1"):
        Case("scenes", "unet", "magnitude", "all", (bad,))


def test_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(HarnessError, match="did you mean magnitude"):
        Case("scenes", "unet", "magnitud", "all", (0.5,))


def test_both_wants_two_sparsities() -> None:
    with pytest.raises(HarnessError, match="wants 2 sparsities"):
        Case("scenes", "both", "magnitude", "all", (0.5,))


def test_components_may_have_methods_of_their_own() -> None:
    case = Case("t", "both", "wanda+magnitude", "all", (0.4, Pattern(2, 4)))
    assert case.methods == {"text_encoder": "wanda", "unet": "magnitude"}
    assert Case("t", "both", "wanda", "all", (0.4, 0.3)).methods == {"text_encoder": "wanda", "unet": "wanda"}
    assert Case("t").methods == {}
    for wrong, levels, said in (
        ("wanda+wanda", (0.4, 0.3), "is written 'wanda'"),
        ("wanda+magnitud", (0.4, 0.3), "did you mean magnitude"),
        ("wanda+dense", (0.4, 0.3), "unknown method 'dense'"),
        ("wanda+magnitude+random", (0.4, 0.3), "one method, or 2 joined by"),
        ("magnitude+owl_wanda", (0.4, Pattern(2, 4)), "owl_wanda spreads a sparsity over layers"),
    ):
        with pytest.raises(HarnessError, match=said):
            Case("t", "both", wrong, "all", levels)


def test_components_are_written_in_one_way() -> None:
    assert Case("t", "both", "magnitude", "all", (0.4, 0.3)).plan == {"text_encoder": 0.4, "unet": 0.3}
    assert Case("t", "text_encoder_3+transformer", "magnitude", "all", (0.4, 0.3)).components[1] == "transformer"
    for wrong, right in (("text_encoder+unet", "both"), ("unet+text_encoder_2", "text_encoder_2+unet")):
        with pytest.raises(HarnessError, match=f"is written '{right}'".replace("+", r"\+")):
            Case("t", wrong, "magnitude", "all", (0.4, 0.3))


def test_ids_are_unique_and_a_tier_holds_the_one_below() -> None:
    smoke, pr, full = ([case.id for case in quality_cases("scenes", tier)] for tier in ("smoke", "pr", "full"))
    assert len(set(full)) == len(full)
    assert set(pr) < set(full)
    assert set(smoke) < set(full) and len(smoke) == len(set(smoke))


def test_collecting_does_not_import_torch() -> None:
    code = "import harness.plugin, benchmarks.matrix, sys; benchmarks.matrix.quality_cases('scenes', 'full'); "
    code += "sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
