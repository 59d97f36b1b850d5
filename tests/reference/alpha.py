"""AlphaPruning (arXiv 2410.10912) in the order of its published code; shares no code with `pruners/`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def exponent(weight: NDArray[np.float64]) -> float:
    """Return the published estimate "xmin_mid" of the exponent of a matrix's spectrum."""
    eigenvalues = sorted(max(1e-5, float(s) ** 2) for s in np.linalg.svd(weight, compute_uv=False))
    middle = int(len(eigenvalues) / 2)
    n = len(eigenvalues) - middle
    logarithms = [math.log(value) for value in eigenvalues[middle:]]
    return 1 + n / (sum(logarithms) - n * logarithms[0])


def sparsities(exponents: list[float], sizes: list[int], sparsity: float, epsilon: float = 0.3) -> list[float]:
    """Return the sparsity of every block, where none has to be clamped."""
    low, high = min(exponents), max(exponents)
    ratios = [(value - low) / (high - low) * 2 * epsilon + 1 - epsilon for value in exponents]
    scale = sum(sizes) * sparsity / sum(r * n for r, n in zip(ratios, sizes, strict=True))
    return [r * scale for r in ratios]
