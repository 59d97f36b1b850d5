"""The tier `study` as data: further methods, every score in every comparison group, kinds of layers, and variants.

Its cases ask why one method beats another, and what the weights at the drop-off are for. `matrix.py` holds the other
tiers.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.case import BACK, COUNT, WINDOWS, Case
from harness.components import KINDS
from harness.targets.resolve import EMBEDDED
from pruners import METHODS
from pruners.levels import Level, Pattern

LEVELS: tuple[Level, ...] = (0.30, 0.50, 0.60, 0.70, 0.80, Pattern(2, 4))
# What the others are compared with, at the same levels.
BASE = ("magnitude", "wanda", "sparsegpt")
# Every score within a row, a layer and a component.
GROUPS = ("magnitude_row", "global_magnitude", "wanda_layer", "global_wanda", "ria_row", "ria", "global_ria")
TECHNIQUES = (
    "dsnot", "obsdiff", "sparsegpt_steps", "sparsegpt_packages", "wanda_packages", "alpha_magnitude", "alpha_wanda",
    "magnitude_swaps", "wanda_swaps", "magnitude_reconstruct", "wanda_reconstruct",
)  # fmt: skip
# A text encoder runs once, so that weights of steps change nothing there.
WITHOUT_STEPS = ("obsdiff", "sparsegpt_steps")
KINDS_OF = {
    "text_encoder": ("self_attention", "feed_forward"),
    "unet": KINDS,
    "transformer": ("attention", "feed_forward", "time_embedding"),
}
SHARES: dict[str, tuple[float, ...]] = {
    "text_encoder": (0.70, 0.80, 0.90), "unet": (0.50, 0.70, 0.90), "transformer": (0.50, 0.70, 0.90),
}  # fmt: skip
# Shares of all weights that are pruned in one kind. Every kind of the embedded model has as many; other models may not.
COUNTS: dict[str, tuple[float, ...]] = {"text_encoder": (0.20, 0.30), "unet": (0.03, 0.05), "transformer": (0.05, 0.10)}
HALVES = (0.40, 0.50, 0.60, 0.70)
RESCUED = {"text_encoder": (0.70, 0.80), "unet": (0.50, 0.60), "transformer": (0.50, 0.60)}
# The method whose drop-off is taken apart.
PROBE = "magnitude"


def ablation_cases(target: str, denoiser: str) -> list[Case]:
    """Return the cases of the tier `study`, without the dense one.

    Args:
        target: The target's name in ids.
        denoiser: The component that denoises: "unet" or "transformer".
    """
    return [case for component in ("text_encoder", denoiser) for case in _cases(target, component)]


def _cases(target: str, component: str) -> Iterator[Case]:
    for method in (*BASE, *GROUPS, *TECHNIQUES):
        if component == "text_encoder" and method in WITHOUT_STEPS:
            continue
        for level in LEVELS:
            if METHODS[method].allocation == "uniform" or not isinstance(level, Pattern):
                yield Case(target, component, method, "all", (level,))
    for kind in KINDS_OF[component]:
        for level in SHARES[component]:
            yield Case(target, component, PROBE, kind, (level,))
        for level in COUNTS[component] if target == EMBEDDED else ():
            yield Case(target, component, PROBE, kind, (level,), COUNT)
    if component != "text_encoder":
        for half in WINDOWS:
            for level in HALVES:
                yield Case(target, component, PROBE, "all", (level,), half)
    for kind in KINDS_OF[component]:
        for level in RESCUED[component]:
            yield Case(target, component, PROBE, "all", (level,), BACK + kind)
