"""The study's claims on the study's own figures, and what becomes of a claim that no longer holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.study import (
    BOTH,
    GRID,
    SENTENCES,
    STUDY,
    Curves,
    share_of_parameters,
    study_cases,
    study_claims,
)
from harness.case import Case
from harness.record import Counts
from harness.verdict.dropoff import Point
from tests.verdict.test_claims import record
from tests.verdict.test_dropoff import (
    TEXT_MAGNITUDE,
    TEXT_OWL_MAGNITUDE,
    TEXT_OWL_WANDA,
    TEXT_WANDA,
    UNET_MAGNITUDE,
    published,
)

# arXiv 2411.15113: magnitude on the text encoder at 47.5 % and on the U-Net at 35 %: (level, cosine, FID).
BOTH_MAGNITUDE = [(0.475, 0.3113, 18.15)]
PUBLISHED: Curves = {
    ("text_encoder", "magnitude"): published(TEXT_MAGNITUDE),
    ("text_encoder", "owl_magnitude"): published(TEXT_OWL_MAGNITUDE),
    ("text_encoder", "wanda"): published(TEXT_WANDA),
    ("text_encoder", "owl_wanda"): published(TEXT_OWL_WANDA),
    ("unet", "magnitude"): published(UNET_MAGNITUDE),
    ("both", "magnitude"): published(BOTH_MAGNITUDE),
}
UNTESTABLE = "not testable: the study has no such figures"
# Of Stable Diffusion 2's components: parameters, and weights of linear layers.
PARAMETERS = {"text_encoder": 340_387_840, "unet": 865_910_724}
LINEAR = {"text_encoder": 289_406_976, "unet": 301_219_840}


def outcome(name: str, curves: Curves = PUBLISHED) -> str:
    sentence = next(s for s in SENTENCES if s.name == name)
    return (sentence.against(curves) or "holds") if set(sentence.needs) <= curves.keys() else UNTESTABLE


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("c1-text_encoder-holds-to-0.475", "holds"),
        ("c2-unet-holds-to-0.35", "holds"),
        ("c3-both-lose-little", "holds"),
        (
            "c4-magnitude-beats-wanda",
            "wanda has the better fid at 0.3, 0.4, 0.5, by 1.03 ± 1.41 at most; "
            "wanda has the better clip at 0.4, by 0.05 ± 0.07 at most",
        ),
        ("c4-magnitude-beats-sparsegpt", UNTESTABLE),
        ("c5-owl-changes-nothing-for-magnitude", "holds"),
        ("c5-owl-changes-nothing-for-wanda", "holds"),
        ("c6-text_encoder-drops-suddenly", "holds"),
        ("c6-unet-drops-suddenly", "holds"),
        ("c7-text_encoder-hurts-clip-first", "holds"),
        ("c7-unet-hurts-fid-first", "holds"),
    ],
)
def test_on_the_published_figures(name: str, wanted: str) -> None:
    print(f"{name:<40} {outcome(name)}")
    assert outcome(name) == wanted


def test_no_claim_is_left_out() -> None:
    assert len({s.name for s in SENTENCES}) == len(SENTENCES) == 11


def test_differences_of_two_fid_are_noise_there() -> None:
    """Pruned by 10 % to 30 %, the U-Net is "better" than dense by nearly two: the error bars of C4 are not too wide."""
    better = [-point.losses["fid"][0] for point in PUBLISHED["unet", "magnitude"] if point.level <= 0.3]
    assert len(better) == 3 and min(better) > 1.6 and max(better) < 2


def test_the_share_of_parameters() -> None:
    levels = {"text_encoder": 0.475, "unet": 0.35}
    assert share_of_parameters(PARAMETERS, {name: levels[name] * PARAMETERS[name] for name in levels}) == ""
    zeros = {name: levels[name] * LINEAR[name] for name in levels}
    assert share_of_parameters(PARAMETERS, zeros) == "20.1% of the parameters are zero, not 38.5%"


def shifted(key: tuple[str, str], metric: str, level: float, more: float) -> Curves:
    points = []
    for point in PUBLISHED[key]:
        lost, se = point.losses[metric]
        moved = {metric: (lost + more, se)} if point.level >= level else {}
        points.append(Point(point.level, {**point.losses, **moved}))
    return {**PUBLISHED, key: points}


@pytest.mark.parametrize(
    ("name", "key", "metric", "level", "more", "wanted"),
    [
        ("c1-text_encoder-holds-to-0.475", ("text_encoder", "magnitude"), "clip", 0.4, 1.0, "holds up to 0.3 "),
        ("c2-unet-holds-to-0.35", ("unet", "magnitude"), "fid", 0.2, 5.0, "holds up to 0.1 "),
        ("c3-both-lose-little", ("both", "magnitude"), "clip", 0.4, 0.5, "clip has lost 0.77 ± 0.05, more than 0.5"),
        ("c4-magnitude-beats-wanda", ("text_encoder", "magnitude"), "fid", 0.3, 9.0, "fid at 0.3, 0.4, 0.5, 0.55"),
        ("c5-owl-changes-nothing-for-wanda", ("text_encoder", "owl_wanda"), "fid", 0.4, 3.0, "at 0.4 OWL moves fid by"),
        ("c6-unet-drops-suddenly", ("unet", "magnitude"), "clip", 0.6, 9.0, "holds"),
        ("c6-unet-drops-suddenly", ("unet", "magnitude"), "clip", 0.575, 9.0, "of CLIP score are lost up to 0.55"),
        ("c7-unet-hurts-fid-first", ("unet", "magnitude"), "clip", 0.3, 1.0, "fid leaves its margin at 0.375, clip"),
        ("c7-text_encoder-hurts-clip-first", ("text_encoder", "magnitude"), "fid", 0.3, 9.0, "clip leaves its margin"),
    ],
)
def test_other_figures_refute(
    name: str, key: tuple[str, str], metric: str, level: float, more: float, wanted: str
) -> None:
    assert wanted in outcome(name, shifted(key, metric, level, more))


def test_every_claim_rests_on_cases_of_the_grid() -> None:
    for denoiser, claims in (("unet", 12), ("transformer", 10)):
        cases = {Case("m"), *study_cases("m", denoiser)}
        told = study_claims("m", denoiser)
        assert len(told) == claims and all(set(claim.cases) <= cases for claim in told)
        assert all(claim.target == "m" and claim.source == STUDY for claim in told)
    assert len(study_cases("m", "unet")) == sum(map(len, GRID.values())) + 2 * len(BOTH)


def test_records_become_curves() -> None:
    claim = next(c for c in study_claims("m", "unet") if c.name == "study-c2-unet-holds-to-0.35")
    lost = {case: 40 * max(0.0, max(case.requested.values(), default=0.0) - 0.36) ** 1.0 for case in claim.cases}
    records = {case: record(case, lost[case]) for case in claim.cases}
    assert claim.holds(records) == ""
    worse = {case: record(case, 3 * lost[case] + (not case.is_dense) * 0.6) for case in claim.cases}
    assert "quality holds up to 0 " in claim.holds(worse)


def test_the_share_of_parameters_is_counted_in_the_records() -> None:
    claim = next(c for c in study_claims("m", "unet") if c.name == "study-c3-is-38.5-of-parameters")
    (case,) = claim.cases
    parts = {
        name: Counts(PARAMETERS[name], LINEAR[name], round(level * PARAMETERS[name]), level, level)
        for name, level in {"text_encoder": 0.475, "unet": 0.35}.items()
    }
    assert claim.holds({case: replace(record(case, 0.0), components=parts)}) == ""
    parts["unet"] = replace(parts["unet"], zeros=0)
    assert "of the parameters are zero" in claim.holds({case: replace(record(case, 0.0), components=parts)})
