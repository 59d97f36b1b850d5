"""RIA's score (ICLR 2024), written as slowly and plainly as possible; shares no code with `pruners/`."""

from __future__ import annotations


def scores(weight: list[list[float]], inputs: list[list[float]]) -> list[list[float]]:
    """Return each weight's share of its column plus its share of its row, times the root of its input's norm."""
    norms = [sum(row[j] ** 2 for row in inputs) ** 0.5 for j in range(len(weight[0]))]
    columns = [sum(abs(row[j]) for row in weight) for j in range(len(weight[0]))]
    return [
        [(abs(w) / columns[j] + abs(w) / sum(map(abs, row))) * norms[j] ** 0.5 for j, w in enumerate(row)]
        for row in weight
    ]
