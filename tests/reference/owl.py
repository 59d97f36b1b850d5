"""OWL (arXiv 2310.05175) for blocks of one size, as the paper says it; shares no code with `pruners/`."""

from __future__ import annotations


def outliers(scores: list[float], m: float = 7.0) -> float:
    """Return the percentage of scores above `m` times their mean."""
    mean = sum(scores) / len(scores)
    return 100 * sum(score > m * mean for score in scores) / len(scores)


def sparsities(shares: list[float], sparsity: float, spread: float = 0.08) -> list[float]:
    """Return the sparsity of every block: more outliers, less sparsity; the mean is the requested sparsity."""
    low, high = min(shares), max(shares)
    kept = [(share - low) / (high - low) * 2 * spread for share in shares]
    mean = sum(kept) / len(kept)
    return [1 - (k - mean + (1 - sparsity)) for k in kept]
