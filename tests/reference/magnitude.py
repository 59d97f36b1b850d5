"""Magnitude pruning written as slowly and plainly as possible; shares no code with `pruners/`."""

from __future__ import annotations

from fractions import Fraction


def keep(weight: list[list[float]], sparsity: str) -> list[list[bool]]:
    """Return the keep mask of a matrix given as rows. sparsity: a decimal, as text, so that rounding is exact."""
    flat = [(abs(w), i, j) for i, row in enumerate(weight) for j, w in enumerate(row)]
    exact = Fraction(sparsity) * len(flat)
    k = int(exact + Fraction(1, 2))
    gone = {(i, j) for _, i, j in sorted(flat)[:k]}
    return [[(i, j) not in gone for j in range(len(row))] for i, row in enumerate(weight)]


def keep_of_a_component(layers: list[list[list[float]]], sparsity: str) -> list[list[list[bool]]]:
    """Return the keep masks of several matrices whose weights are all compared with each other."""
    flat = [(abs(w), n, i, j) for n, rows in enumerate(layers) for i, row in enumerate(rows) for j, w in enumerate(row)]
    k = int(Fraction(sparsity) * len(flat) + Fraction(1, 2))
    gone = {(n, i, j) for _, n, i, j in sorted(flat)[:k]}
    return [
        [[(n, i, j) not in gone for j in range(len(row))] for i, row in enumerate(rows)]
        for n, rows in enumerate(layers)
    ]
