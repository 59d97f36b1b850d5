"""AlphaPruning: a lower sparsity where the spectrum has a heavier tail (Lu et al., arXiv 2410.10912)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pruners.select import count
from pruners.spread import to_total
from pruners.stats import usable
from pruners.types import LayerFacts, LayerRefused

EPSILON = 0.3
# Squared singular values below this one count as this one.
SMALLEST = 1e-5


def by_tails(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
    """Give blocks whose spectra have heavier tails a lower sparsity. All layers of a block share it.

    Args:
        layers: Layer → facts. Only weights and blocks are read.
        sparsity: Share of all weights to prune.

    Returns:
        Layer → sparsity.

    Raises:
        LayerRefused: A weight is NaN or infinite, or has a dtype that cannot be pruned.
        ValueError: The sparsity is outside [0, 1].
    """
    exponents: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for name, facts in layers.items():
        try:
            exponents.setdefault(facts.block, []).append(tail_exponent(facts.weight))
        except ValueError as error:
            raise LayerRefused(name, str(error)) from error
        sizes[facts.block] = sizes.get(facts.block, 0) + facts.weight.numel()
    means = {block: _mean_of_finite(values) for block, values in exponents.items()}
    by_block = alpha(means, sizes, sparsity)
    return {name: by_block[facts.block] for name, facts in layers.items()}


def tail_exponent(weight: Tensor) -> float:
    """Return the Hill estimate of a weight's spectrum: `α = 1 + n / Σ ln(λ_i / λ_min)`.

    The sum runs over the `n` squared singular values `λ_i` from the median `λ_min` up, the position `N // 2` of `N`.

    Args:
        weight: `[out, in]`, any dtype of `stats.DTYPES`. A convolution is one matrix.

    Returns:
        α, above 1; infinite where all these values are equal.

    Raises:
        ValueError: A weight is NaN or infinite, or has a dtype that cannot be pruned.
    """
    wide = usable(weight).double()
    product = wide @ wide.T if len(wide) <= wide.shape[1] else wide.T @ wide
    tail = torch.linalg.eigvalsh(product).clamp(min=SMALLEST).log()
    tail = tail[len(tail) // 2 :]
    rise = float((tail - tail[0]).sum())
    return 1 + len(tail) / rise if rise > 0 else math.inf


def alpha(exponents: Mapping[str, float], sizes: Mapping[str, int], sparsity: float) -> dict[str, float]:
    """Return each block's sparsity: it grows linearly with α, from `1 - ε` to `1 + ε` times a common factor.

    Differs: a sparsity above 1 is clamped, and the other blocks compensate, so that the total is the requested
    sparsity. Equal exponents give every block that sparsity, where the published code divides by zero. A block without
    an exponent counts as the one with the largest exponent.

    Args:
        exponents: Block → mean α of its layers, infinite where it has none.
        sizes: Block → number of weights.
        sparsity: Share of all weights to prune.

    Raises:
        ValueError: The sparsity is outside [0, 1].
    """
    count(sparsity, 1)
    known = [value for value in exponents.values() if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)

    def ratio(value: float) -> float:
        return 1 - EPSILON + 2 * EPSILON * (min(value, high) - low) / (high - low) if high > low else 1.0

    ratios = {block: ratio(value) for block, value in exponents.items()}
    return to_total(
        lambda factor: {block: factor * share for block, share in ratios.items()}, sizes, sparsity, 1 / (1 - EPSILON)
    )


def _mean_of_finite(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.inf
