"""The claims of this project and the reference study, as data. `test_claims.py` tests them on the default workload."""

from __future__ import annotations

from benchmarks.matrix import EQUAL, TENTHS
from harness.case import Case
from harness.verdict.claims import Claim, better, threshold

# The numbers of captions at which the shipped baselines can support a claim.
CAPTIONS = (64, 256)
FINDINGS = "docs/findings.md"
STUDY = "arXiv 2411.15113"

# Component → method → the last of the nine levels 0.10 to 0.90 at which quality holds.
THRESHOLDS = {
    "text_encoder": {
        "magnitude": 0.5, "global_magnitude": 0.4, "owl_magnitude": 0.6, "wanda": 0.5, "owl_wanda": 0.4,
        "sparsegpt": 0.7, "owl_sparsegpt": 0.6, "random": 0.0,
    },
    "unet": {
        "magnitude": 0.2, "global_magnitude": 0.3, "owl_magnitude": 0.2, "wanda": 0.2, "owl_wanda": 0.2,
        "sparsegpt": 0.3, "owl_sparsegpt": 0.3, "random": 0.0,
    },
    "both": {"magnitude": 0.2, "random": 0.0},
}  # fmt: skip

# Claims about the better CLIP score of two methods: name → (source, component, level, winner, loser).
ORDERS = {
    "magnitude-beats-wanda-on-the-text-encoder": (STUDY, "text_encoder", 0.70, "magnitude", "wanda"),
    "sparsegpt-beats-magnitude-on-the-unet": (FINDINGS, "unet", 0.60, "sparsegpt", "magnitude"),
    "sparsegpt-beats-wanda-on-the-unet": (FINDINGS, "unet", 0.60, "sparsegpt", "wanda"),
    "owl-harms-magnitude-on-the-text-encoder": (FINDINGS, "text_encoder", 0.80, "magnitude", "owl_magnitude"),
    "owl-harms-magnitude-on-the-unet": (FINDINGS, "unet", 0.70, "magnitude", "owl_magnitude"),
    "any-data-beats-none-on-the-unet": (FINDINGS, "unet", 0.30, "wanda", "random"),
}


def claims(target: str) -> list[Claim]:
    """Return all claims about a target."""
    told = []
    for component, by_method in THRESHOLDS.items():
        for method, last in by_method.items():
            levels = EQUAL if component == "both" else TENTHS
            pruned = [
                Case(target, component, method, "all", level if isinstance(level, tuple) else (level,))
                for level in levels
            ]
            name = f"threshold-{component}-{method}"
            told.append(threshold(name, FINDINGS, (Case(target), *pruned), last))
    for name, (source, component, level, winner, loser) in ORDERS.items():
        first, second = (Case(target, component, method, "all", (level,)) for method in (winner, loser))
        told.append(better(name, source, first, second))
    return told
