"""The benchmark matrix as data: which sparsities of which method on which component, and in which tier."""

from __future__ import annotations

from harness.case import Case

TENTHS = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90)

# The paper's operating point (arXiv 2411.15113) and steps along its diagonal.
PAIRS = ((0.20, 0.15), (0.475, 0.35), (0.60, 0.475), (0.80, 0.60))

# (component, method, layers) → (levels of every run, levels that only `--tier full` adds)
Level = float | tuple[float, float]
MATRIX: dict[tuple[str, str, str], tuple[tuple[Level, ...], tuple[Level, ...]]] = {
    ("text_encoder", "magnitude", "all"): (TENTHS, (0.55, 0.65, 0.75)),
    ("unet", "magnitude", "all"): (TENTHS, (0.35, 0.45, 0.55)),
    ("both", "magnitude", "all"): (PAIRS[:3], PAIRS[3:]),
    ("text_encoder", "magnitude", "linear"): ((0.475, 0.80), TENTHS),
    ("unet", "magnitude", "linear"): ((0.35, 0.60), TENTHS),
    ("both", "magnitude", "linear"): (PAIRS[1:2], (PAIRS[0], *PAIRS[2:])),
    ("text_encoder", "random", "all"): ((0.10, 0.30, 0.50), (0.20, 0.40, 0.60, 0.70, 0.80, 0.90)),
    ("unet", "random", "all"): ((0.10, 0.20, 0.30), (0.40, 0.50, 0.60, 0.70, 0.80, 0.90)),
    ("both", "random", "all"): ((PAIRS[0],), PAIRS[1:]),
    ("text_encoder", "random", "linear"): ((), (0.10, 0.30, 0.50)),
    ("unet", "random", "linear"): ((), (0.10, 0.30, 0.50)),
    ("both", "random", "linear"): ((), PAIRS[:2]),
}

# Levels at which latency is compared with the dense model's.
COST = ((0.50, "text_encoder"), (0.80, "text_encoder"), (0.35, "unet"), (0.70, "unet"))


def quality_cases(target: str, tier: str) -> list[Case]:
    """Return the cases of one target and tier, the dense one first."""
    cases = [Case(target)]
    for (component, method, layers), (always, full_only) in MATRIX.items():
        levels = {*always, *(full_only if tier == "full" else ())}
        for level in sorted(levels, key=lambda x: x if isinstance(x, tuple) else (x,)):
            cases.append(Case(target, component, method, layers, level if isinstance(level, tuple) else (level,)))
    return cases


def cost_cases(target: str) -> list[Case]:
    """Return the cases whose latency is measured."""
    return [Case(target, component, "magnitude", "all", (level,)) for level, component in COST]
