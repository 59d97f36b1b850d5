"""Levels: a sparsity or an N:M pattern. This module imports no torch, so that cases can be listed without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """N:M sparsity, written "2:4": N of every M consecutive inputs of an output survive.

    Raises:
        ValueError: The pattern keeps nothing or everything.
    """

    kept: int
    """N: the number of surviving weights in a group."""
    of: int
    """M: the number of weights in a group."""

    def __post_init__(self) -> None:
        if not 0 < self.kept < self.of:
            raise ValueError(f"pattern {self.kept}:{self.of} keeps all or nothing; use n:m with 0 < n < m, as in 2:4")

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    @property
    def sparsity(self) -> float:
        """Return the share of weights that the pattern prunes."""
        return 1 - self.kept / self.of


Level = float | Pattern
"""How much is pruned: a sparsity in [0, 1], or an N:M pattern."""
