"""The matrix as data: the same cases for every target, as far as its components go."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.matrix import candidate_cases, cost_cases, quality_cases
from benchmarks.study import study_cases
from harness.components import BOTH, KINDS
from harness.scenes.weights import PIPELINE
from harness.targets.spec import TargetSpec
from pruners import METHODS

SD3 = ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer")
TIERS = ("smoke", "pr", "full")


def ids(target: str, components: tuple[str, ...], tier: str) -> list[str]:
    return [case.id for case in quality_cases(target, components, tier)]


@pytest.mark.parametrize(("tier", "count"), [("smoke", 11), ("pr", 35), ("full", 359)])
def test_scenes_has_as_many_cases_as_before_and_each_once(tier: str, count: int) -> None:
    names = ids("scenes", BOTH, tier)
    assert len(names) == len(set(names)) == count and names[0] == "scenes-none-dense-none-0.00"


def test_the_full_tier_has_the_cases_of_the_others() -> None:
    smoke, pr, full = (set(ids("scenes", BOTH, tier)) for tier in TIERS)
    assert smoke < full and pr < full


def test_cases_of_a_curve_follow_each_other_by_level() -> None:
    cases = quality_cases("scenes", BOTH, "full")
    curves: list[str] = []
    for case in cases:
        if case.group not in curves[-1:]:
            curves.append(case.group)
    assert len(curves) == len(set(curves)) > 30
    for before, after in pairwise(cases):
        if before.group == after.group:
            assert tuple(before.requested.values()) <= tuple(after.requested.values())


@pytest.mark.parametrize("tier", TIERS)
def test_a_pipeline_of_the_same_parts_has_the_cases_of_scenes_and_in_the_full_tier_the_study(tier: str) -> None:
    names, scenes = ids("mine", BOTH, tier), ids("scenes", BOTH, tier)
    expected = [name.replace("scenes-", "mine-") for name in scenes]
    assert names[: len(expected)] == expected
    study = [case.id for case in study_cases("mine", "unet")]
    assert names[len(expected) :] == ([name for name in study if name not in expected] if tier == "full" else [])
    assert set(study) <= set(names) or tier != "full"


@pytest.mark.parametrize("tier", TIERS)
def test_a_transformer_takes_the_place_of_the_unet(tier: str) -> None:
    cases = quality_cases("mine", SD3, tier)
    assert not any({"unet", "both"} & set(case.component.split("+")) for case in cases)
    expected = {case.id.replace("scenes-unet", "mine-transformer") for case in quality_cases("scenes", BOTH, tier)}
    assert {name for name in expected if "-transformer-" in name} <= {case.id for case in cases}
    further = {case.component for case in cases} & {"text_encoder_2", "text_encoder_3"}
    # The smoke tier prunes no text encoder by magnitude.
    assert further == (set() if tier == "smoke" else {"text_encoder_2", "text_encoder_3"})


def test_further_text_encoders_are_pruned_by_magnitude_alone() -> None:
    cases = quality_cases("mine", SD3, "full")
    assert {case.method for case in cases if case.component in ("text_encoder_2", "text_encoder_3")} == {"magnitude"}


def test_a_pipeline_with_a_unet_alone_has_no_case_of_a_text_encoder() -> None:
    assert {case.component for case in quality_cases("mine", ("unet",), "full")} == {"none", "unet"}


def test_latency_is_measured_of_the_parts_that_there_are() -> None:
    assert cost_cases("scenes", BOTH, "smoke") == []
    assert [case.id for case in cost_cases("mine", SD3, "pr")] == [
        f"mine-{part}-magnitude-all-{level}"
        for part, level in (
            ("text_encoder", "0.50"), ("text_encoder", "0.80"), ("transformer", "0.35"), ("transformer", "0.70")
        )
    ]  # fmt: skip


def test_a_candidate_is_one_case_with_its_own_components() -> None:
    assert candidate_cases("scenes", ()) == []
    (case,) = candidate_cases("scenes", [TargetSpec("mine", "folder", str(PIPELINE))])
    assert case.id == "scenes-both-candidate:mine-all-given"


@pytest.mark.parametrize("components", [BOTH, SD3, ("unet",)], ids="+".join)
def test_the_study_has_every_method_and_kind_and_each_case_once(components: tuple[str, ...]) -> None:
    cases = quality_cases("scenes", components, "study")
    assert len(cases) == len(set(cases)) and cases[0].is_dense
    assert {part for case in cases for part in case.components} <= set(components)
    if components == BOTH:
        assert set(METHODS) - {case.method for case in cases} == {
            "random",
            "owl_magnitude",
            "owl_wanda",
            "owl_sparsegpt",
        }
        assert {case.layers for case in cases} >= set(KINDS)
        # Every kind is also pruned by count, and given back.
        assert {case.layers for case in cases if case.variant == "count"} == set(KINDS)
        assert {case.given_back for case in cases} == {"", *KINDS}


def test_the_tiers_that_run_by_default_have_the_magnitude_cases_of_before() -> None:
    """`-k magnitude` selects by parts of names, and further methods have names such as magnitude_swaps."""
    before = {"magnitude", "global_magnitude", "owl_magnitude", "owl_magnitude+magnitude"}
    for tier in TIERS:
        cases = [case for case in quality_cases("scenes", BOTH, tier) if "magnitude" in case.id]
        assert {case.method for case in cases} <= before and not any(case.variant for case in cases)
        assert {case.layers for case in cases} <= {"all", "linear"}
