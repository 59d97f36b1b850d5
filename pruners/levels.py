"""How much is pruned: a sparsity, or an N:M pattern. Imports no torch, so that cases can be listed without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """N:M sparsity: of every `of` consecutive inputs, `kept` survive. Written "2:4"; n is what is kept."""

    kept: int
    of: int

    def __post_init__(self) -> None:
        if not 0 < self.kept < self.of:
            raise ValueError(f"pattern {self.kept}:{self.of} keeps all or nothing, wanted 0 < n < m as in 2:4")

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    @property
    def sparsity(self) -> float:
        """Return the share of weights that the pattern prunes."""
        return 1 - self.kept / self.of


# How much is pruned: a sparsity in [0, 1], or an N:M pattern.
Level = float | Pattern
