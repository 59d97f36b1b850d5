"""DSnoT and swaps written as slowly and plainly as possible; shares no code with `pruners/`."""

from __future__ import annotations

Rows = list[list[float]]
Keeps = list[list[bool]]


def error(weight: list[float], keep: list[bool], inputs: Rows) -> float:
    """Return the sum of squares over all inputs of what the pruned weights of one output gave."""
    return sum(sum(w * x for w, k, x in zip(weight, keep, row, strict=True) if not k) ** 2 for row in inputs)


def best_swap(weight: list[float], keep: list[bool], inputs: Rows, of: int | None) -> tuple[float, list[bool]]:
    """Return the smallest error that one swap, or none, reaches, and its mask. of: the M of a pattern."""
    best = error(weight, keep, inputs), keep
    for u in range(len(weight)):
        for p in range(len(weight)):
            if keep[u] and not keep[p] and (of is None or u // of == p // of):
                new = list(keep)
                new[u], new[p] = False, True
                best = min(best, (error(weight, new, inputs), new))
    return best


def dsnot(weight: Rows, keep: Keeps, inputs: Rows, limit: float, cycles: int, of: int | None = None) -> Keeps:
    """Return the masks after all cycles of arXiv 2310.08915. of: the M of a pattern."""
    n, size = len(inputs), len(weight[0])
    mean = [sum(row[j] for row in inputs) / n for j in range(size)]
    var = [sum((row[j] - mean[j]) ** 2 for row in inputs) / n for j in range(size)]
    norm = [sum(row[j] ** 2 for row in inputs) ** 0.5 for j in range(size)]
    return [_row(w, k, mean, var, norm, limit, cycles, of) for w, k in zip(weight, keep, strict=True)]


def _row(
    w: list[float],
    keep: list[bool],
    mean: list[float],
    var: list[float],
    norm: list[float],
    limit: float,
    cycles: int,
    of: int | None,
) -> list[bool]:
    keep, part = list(keep), [a * m for a, m in zip(w, mean, strict=True)]
    regrowable = [j for j, k in enumerate(keep) if not k]
    prunable = [j for j, k in enumerate(keep) if k]
    epsilon = sum(part[j] for j in regrowable)
    sign = 1 if epsilon > 0 else -1
    for _ in range(cycles):
        to_regrow = [j for j in regrowable if part[j] * sign > 0]
        if abs(epsilon) <= limit or not to_regrow:
            break
        comes = max(to_regrow, key=lambda j: part[j] * sign / var[j])
        to_prune = [j for j in prunable if (part[j] * sign < 0 if of is None else j // of == comes // of)]
        if not to_prune:
            break
        goes = min(to_prune, key=lambda j: abs(w[j]) * norm[j])
        after = epsilon - part[comes] + part[goes]
        if after * sign <= 0:
            break
        keep[comes], keep[goes], epsilon = True, False, after
        regrowable.remove(comes)
        prunable.remove(goes)
    return keep
