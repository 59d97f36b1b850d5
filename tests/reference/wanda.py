"""Wanda written as slowly and plainly as possible; shares no code with `pruners/`."""

from __future__ import annotations

from fractions import Fraction


def scores(weight: list[list[float]], inputs: list[list[float]]) -> list[list[float]]:
    """Return |W_ij| times the norm of input column j. inputs: one row per token."""
    norms = [sum(row[j] ** 2 for row in inputs) ** 0.5 for j in range(len(weight[0]))]
    return [[abs(w) * norms[j] for j, w in enumerate(row)] for row in weight]


def keep(table: list[list[float]], sparsity: str) -> list[list[bool]]:
    """Return the keep mask: the smallest scores of every row go. sparsity: a decimal, as text."""
    found = []
    for row in table:
        k = int(Fraction(sparsity) * len(row) + Fraction(1, 2))
        gone = {j for _, j in sorted((score, j) for j, score in enumerate(row))[:k]}
        found.append([j not in gone for j in range(len(row))])
    return found


def keep_pattern(table: list[list[float]], kept: int, of: int) -> list[list[bool]]:
    """Return the keep mask of an N:M pattern: of every `of` scores in a row the largest `kept` stay."""
    found = []
    for row in table:
        stays: list[bool] = []
        for first in range(0, len(row), of):
            part = sorted((score, j) for j, score in enumerate(row[first : first + of]))
            gone = {j for _, j in part[: of - kept]}
            stays += [j not in gone for j in range(of)]
        found.append(stays)
    return found
