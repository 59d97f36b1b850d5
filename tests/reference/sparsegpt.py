"""SparseGPT as algorithm 1 of arXiv 2301.00774 says it, one level at a time; shares no code with `pruners/`.

The inverse is taken explicitly and factored; every column updates all columns to its right at once.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def prune(
    weight: Matrix, gram: Matrix, sparsity: str | None, pattern: tuple[int, int] | None = None, block: int = 128
) -> tuple[NDArray[np.bool_], Matrix]:
    """Return keep mask and new weight `[out, in]`. sparsity: a decimal, as text; or pattern: (kept, of).

    Inputs that are always zero are pruned first, and take no part in the mean that the damping is 1 % of.
    """
    w = weight.copy()
    out, size = w.shape
    hessian = gram.copy()
    dead = np.diag(hessian) == 0
    live = [hessian[j, j] for j in range(size) if not dead[j]]
    mean = sum(live) / len(live) if live else 1.0
    for j in range(size):
        if dead[j]:
            hessian[j, j] = mean
        hessian[j, j] += 0.01 * mean
    inverse = np.linalg.inv(hessian)
    u = np.linalg.cholesky(inverse).T
    keep = np.ones((out, size), dtype=bool)
    if pattern:
        block = block // pattern[1] * pattern[1]
    for first in range(0, size, block):
        last = min(first + block, size)
        if pattern is None:
            places = []
            for i in range(out):
                for j in range(first, last):
                    score = -1.0 if dead[j] else w[i, j] ** 2 / u[j, j] ** 2
                    places.append((score, i, j))
            k = int(Fraction(sparsity or "0") * len(places) + Fraction(1, 2))
            for _, i, j in sorted(places)[:k]:
                keep[i, j] = False
        for j in range(first, last):
            if pattern and j % pattern[1] == 0:
                kept, of = pattern
                for i in range(out):
                    part = sorted((-1.0 if dead[c] else w[i, c] ** 2 / u[c, c] ** 2, c) for c in range(j, j + of))
                    for _, c in part[: of - kept]:
                        keep[i, c] = False
            for i in range(out):
                wanted = w[i, j] if keep[i, j] else 0.0
                error = (w[i, j] - wanted) / u[j, j]
                w[i, j:] -= error * u[j, j:]
                w[i, j] = wanted
    return keep, w
