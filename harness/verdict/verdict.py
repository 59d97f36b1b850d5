"""The type `Verdict`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdict.statistics import IMPROVED, PASS, UNDERPOWERED

NOT_COMPARED, NO_BASELINE = "NOT COMPARED", "NO BASELINE"
# The exact facts are the baseline's, and so are the pruned weights; nobody made pictures.
UNCHANGED = "UNCHANGED"


@dataclass(frozen=True)
class Verdict:
    """The result of judging one case."""

    kind: str
    """PASS, UNCHANGED, REGRESSION, IMPROVED, UNDERPOWERED, NOT COMPARED or NO BASELINE."""
    gate: str
    """The gate that decided."""
    reason: str = ""
    """Why the verdict is not PASS, in one line; "" for PASS."""
    moved: bool = True
    """Whether a figure has left its tolerance."""
    note: str = ""
    """What was not compared, and why."""
    by_effect: bool = False
    """Whether the case was judged by its effect, because this is not the baseline's stack."""

    @property
    def passed(self) -> bool:
        """Return whether the verdict is PASS or UNCHANGED."""
        return self.kind in (PASS, UNCHANGED)

    def red(self, ci: bool, gains_pass: bool, require_power: bool = False) -> bool:
        """Return whether the case fails.

        UNDERPOWERED always fails in CI. Elsewhere it fails only where a figure has left its tolerance. Captions and
        start noise are the baseline's, so unchanged code cannot move a figure that far. On another stack it can:
        UNDERPOWERED then warns, in CI too.

        Args:
            ci: Whether the run is in CI.
            gains_pass: Whether IMPROVED passes.
            require_power: Whether UNDERPOWERED fails on another stack too.
        """
        if self.kind == UNDERPOWERED:
            return require_power if self.by_effect else ci or self.moved
        return not self.passed and not (gains_pass and self.kind == IMPROVED)
