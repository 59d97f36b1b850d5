"""The benchmark matrix as data: the levels of every method on every component, by tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.ablation import ablation_cases
from benchmarks.study import study_cases
from harness.case import CANDIDATE, Case
from harness.components import denoiser_of, selection
from harness.targets import resolve
from harness.targets.resolve import EMBEDDED
from harness.targets.spec import TargetSpec
from pruners.levels import Level, Pattern

Levels = tuple[Level | tuple[Level, Level], ...]

TENTHS: Levels = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90)
EQUAL: Levels = tuple((s / 10, s / 10) for s in range(1, 10))
FEW: Levels = (0.30, 0.50, 0.70)
TWO_FOUR: Levels = (Pattern(2, 4),)
# Unlike 2:4, it prunes another number of weights than it keeps.
ONE_FOUR: Levels = (Pattern(1, 4),)

# The paper's operating point (arXiv 2411.15113) and steps along its diagonal.
PAIRS: Levels = ((0.20, 0.15), (0.475, 0.35), (0.60, 0.475), (0.80, 0.60))

# Finer, in steps of 2.5 %, around where each method drops off on the embedded model (docs/findings.md).
TEXT_LATE: Levels = (0.65, 0.675, 0.70, 0.725, 0.75, 0.775, 0.80, 0.825, 0.85)
TEXT_EARLY: Levels = (0.575, 0.60, 0.625, 0.65, 0.675, 0.70, 0.725)
UNET_LATE: Levels = (0.625, 0.65, 0.675, 0.70, 0.725)
UNET_EARLY: Levels = (0.35, 0.40, 0.425, 0.45, 0.475, 0.50, 0.525, 0.55, 0.575, 0.60, 0.65)
RANDOM_TEXT: Levels = (0.225, 0.25, 0.275, 0.325, 0.35, 0.375)
RANDOM_UNET: Levels = (0.025, 0.05, 0.075, 0.125, 0.15)

# (component, method, layers) → (levels of every run, levels that only `--tier full` adds)
MATRIX: dict[tuple[str, str, str], tuple[Levels, Levels]] = {
    ("text_encoder", "magnitude", "all"): (TENTHS, TEXT_LATE + TWO_FOUR),
    ("unet", "magnitude", "all"): (TENTHS, UNET_EARLY + TWO_FOUR),
    ("both", "magnitude", "all"): (PAIRS[1:3], PAIRS + EQUAL),
    # The text encoder has linear layers only: these cases make the pictures of `all` again.
    ("text_encoder", "magnitude", "linear"): ((), (0.475, *TENTHS)),
    ("unet", "magnitude", "linear"): ((0.60,), (0.35, *TENTHS)),
    ("both", "magnitude", "linear"): (PAIRS[1:2], PAIRS + EQUAL),
    ("text_encoder", "random", "all"): ((0.30,), TENTHS + RANDOM_TEXT),
    ("unet", "random", "all"): ((0.10,), TENTHS + RANDOM_UNET),
    ("both", "random", "all"): ((), EQUAL),
    ("text_encoder", "random", "linear"): ((), TENTHS),
    ("unet", "random", "linear"): ((), TENTHS),
    ("both", "random", "linear"): ((), EQUAL),
    ("text_encoder", "wanda", "all"): ((0.50, 0.70), TENTHS + TEXT_EARLY + TWO_FOUR + ONE_FOUR),
    ("unet", "wanda", "all"): ((0.40, 0.60), TENTHS + UNET_EARLY + TWO_FOUR),
    ("both", "wanda", "all"): ((), PAIRS),
    ("text_encoder", "wanda", "linear"): ((), FEW),
    ("unet", "wanda", "linear"): ((), FEW),
    ("text_encoder", "sparsegpt", "all"): ((0.50, 0.70), TENTHS + TEXT_LATE + TWO_FOUR),
    ("unet", "sparsegpt", "all"): ((0.40, 0.60), TENTHS + UNET_LATE + TWO_FOUR),
    ("both", "sparsegpt", "all"): ((), PAIRS),
    ("text_encoder", "sparsegpt", "linear"): ((), FEW),
    ("unet", "sparsegpt", "linear"): ((), FEW),
    ("text_encoder", "owl_wanda", "all"): ((0.70,), TENTHS + TEXT_EARLY),
    ("unet", "owl_wanda", "all"): ((0.60,), TENTHS + UNET_EARLY),
    ("both", "owl_wanda", "all"): ((), PAIRS[1:2]),
    ("text_encoder", "owl_magnitude", "all"): ((), TENTHS + TEXT_EARLY),
    ("unet", "owl_magnitude", "all"): ((), TENTHS + UNET_EARLY),
    ("both", "owl_magnitude", "all"): ((), PAIRS[1:2]),
    ("text_encoder", "owl_sparsegpt", "all"): ((), TENTHS + TEXT_EARLY),
    ("unet", "owl_sparsegpt", "all"): ((), TENTHS + UNET_LATE),
    ("both", "owl_sparsegpt", "all"): ((), PAIRS[1:2]),
    ("text_encoder", "global_magnitude", "all"): ((), TENTHS + TEXT_EARLY),
    ("unet", "global_magnitude", "all"): ((), TENTHS + UNET_EARLY),
    ("both", "owl_magnitude+magnitude", "all"): ((), PAIRS[1:2]),
    ("both", "global_magnitude", "all"): ((), PAIRS[1:2]),
    # Further methods are in the tier `study`.
    ("unet", "ria", "all"): ((), (0.50,)),
    # On the U-Net, every package takes a calibration of its own.
    ("text_encoder", "obsdiff", "all"): ((), (0.70,)),
}

# One case per method, at a level with a visible but not total loss; and a pattern that is no half.
SMOKE = (
    Case("", "both", "magnitude", "all", (0.475, 0.35)),
    Case("", "unet", "random", "all", (0.10,)),
    Case("", "text_encoder", "wanda", "all", (0.70,)),
    Case("", "unet", "wanda", "all", (Pattern(2, 4),)),
    Case("", "unet", "sparsegpt", "all", (0.60,)),
    Case("", "unet", "owl_wanda", "all", (0.50,)),
    Case("", "text_encoder", "global_magnitude", "all", (0.70,)),
    Case("", "text_encoder", "wanda", "all", (Pattern(1, 4),)),
    Case("", "unet", "ria", "all", (0.50,)),
    Case("", "text_encoder", "obsdiff", "all", (0.70,)),
)

# Levels and components whose latency is compared with the dense model's.
COST = ((0.50, "text_encoder"), (0.80, "text_encoder"), (0.35, "unet"), (0.70, "unet"))


def quality_cases(target: str, components: Sequence[str], tier: str) -> list[Case]:
    """Return the cases of a target in a tier, the dense one first.

    They are the matrix, with the transformer in the U-Net's place where the target has one. Further text encoders are
    pruned like the first one, by magnitude. In the full tier every target but the embedded one also gets the grid of
    the reference study.

    Args:
        target: The target's name in ids.
        components: The names of its prunable components.
        tier: "smoke", "pr", "full" or "study".
    """
    denoiser = denoiser_of(components)
    cases = [Case(target)]
    if tier == "study":
        return cases + [case for case in ablation_cases(target, denoiser) if set(case.components) <= set(components)]
    for case in _smoke(target) if tier == "smoke" else _matrix(target, tier):
        needed = [denoiser if name == "unet" else name for name in case.components]
        if set(needed) <= set(components):
            cases.append(replace(case, component=selection(needed)))
        if case.method == "magnitude" and case.component == "text_encoder":
            cases += [replace(case, component=name) for name in components if name.startswith("text_encoder_")]
    if tier == "full" and target != EMBEDDED:
        cases += [case for case in study_cases(target, denoiser) if set(case.components) <= set(components)]
    return list(dict.fromkeys(cases))


def _smoke(target: str) -> list[Case]:
    return [replace(case, target=target) for case in SMOKE]


def _matrix(target: str, tier: str) -> list[Case]:
    return [
        Case(target, component, method, layers, level if isinstance(level, tuple) else (level,))
        for (component, method, layers), (always, full_only) in MATRIX.items()
        for level in sorted(dict.fromkeys((*always, *(full_only if tier == "full" else ()))), key=_order)
    ]


def _order(level: Level | tuple[Level, Level]) -> tuple[float, ...]:
    parts = level if isinstance(level, tuple) else (level,)
    return tuple(part.sparsity if isinstance(part, Pattern) else part for part in parts)


def candidate_cases(target: str, candidates: Sequence[TargetSpec]) -> list[Case]:
    """Return a case per candidate: its components in the place of the target's.

    Args:
        target: The target's name in ids.
        candidates: Pipelines of `--candidate`.
    """
    return [Case(target, selection(resolve.components(spec)), f"{CANDIDATE}{spec.name}", "all") for spec in candidates]


def cost_cases(target: str, components: Sequence[str], tier: str) -> list[Case]:
    """Return the cases whose latency is measured, none in the tier smoke. Arguments as for `quality_cases`."""
    if tier == "smoke":
        return []
    denoiser = denoiser_of(components)
    levels = [(denoiser if component == "unet" else component, level) for level, component in COST]
    return [Case(target, name, "magnitude", "all", (level,)) for name, level in levels if name in components]
