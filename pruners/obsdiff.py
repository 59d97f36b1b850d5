"""OBS-Diff: early denoising steps weigh more, and layers are pruned in packages (arXiv 2510.06751)."""

from __future__ import annotations

import math
from collections.abc import Mapping

PACKAGES = 4
# The weight of a step falls from FIRST to FIRST - FALL.
FIRST, FALL = 1.2, 0.4


def step_weights(steps: int) -> list[float]:
    """Return the weight of every denoising step: `α_i = 0.8 + 0.4 · ln(T - i) / ln T`, with a mean of 1.

    A common factor changes no mask. The mean of 1 leaves the sums over all steps comparable with the number of rows.

    Args:
        steps: T, at least 1. A single step weighs 1.
    """
    if steps == 1:
        return [1.0]
    weights = [FIRST - FALL + FALL * math.log(steps - step) / math.log(steps) for step in range(steps)]
    return [weight * steps / sum(weights) for weight in weights]


def packages(blocks: Mapping[str, int], parts: int) -> list[list[str]]:
    """Divide the blocks of a component into packages of consecutive blocks, of about equal numbers of weights.

    Args:
        blocks: Block → number of weights, in the order in which they run.
        parts: Number of packages.

    Returns:
        The names of every package's blocks, in order. No package is empty; with few blocks there are fewer packages.
    """
    total, before = sum(blocks.values()), 0
    by_part: dict[int, list[str]] = {}
    for name, size in blocks.items():
        # A block belongs to the part that its middle lies in.
        by_part.setdefault(min(parts - 1, int(parts * (before + size / 2) / total)), []).append(name)
        before += size
    return [*by_part.values()]
