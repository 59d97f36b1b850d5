"""Sparsities of layers or blocks whose total is the requested sparsity."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def to_total(
    shaped: Callable[[float], Mapping[str, float]], sizes: Mapping[str, int], sparsity: float, largest: float
) -> dict[str, float]:
    """Return sparsities of a given shape, clamped to [0, 1], whose total is the requested sparsity.

    Args:
        shaped: Takes a number and returns name → sparsity before it is clamped. Each one rises with the number.
        sizes: Name → number of weights.
        sparsity: Share of all weights to prune, in [0, 1].
        largest: A number for which every sparsity of `shaped` is at least 1. At 0, each is at most 0.

    Returns:
        Name → sparsity.
    """

    def clamped(number: float) -> dict[str, float]:
        return {name: min(1.0, max(0.0, share)) for name, share in shaped(number).items()}

    total = sum(sizes[name] for name in shaped(0.0))
    # The clamped total rises with the number. After 100 halvings no float lies between the two ends of the interval.
    below, above = 0.0, largest
    for _ in range(100):
        middle = (below + above) / 2
        if sum(share * sizes[name] for name, share in clamped(middle).items()) < sparsity * total:
            below = middle
        else:
            above = middle
    return clamped(above)
