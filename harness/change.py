"""The type `Change`: one figure of a case beside that of its baseline."""

from __future__ import annotations

from dataclasses import dataclass

BETTER, WORSE, UNCLEAR, SAME = "better", "worse", "unclear", "same"


@dataclass(frozen=True)
class Change:
    """One figure, old and new, paired by caption or by resample."""

    metric: str
    """A name of `METRICS`."""
    before: float
    """The baseline's figure, in the metric's unit."""
    now: float
    """The figure of this run."""
    se: float
    """Standard error of now minus before."""
    certainty: float
    """The probability, from 0.5 to 1, that a figure without any change moves less far in this direction: one-sided t,
    with the noise of the figure."""
    word: str
    """`SAME`: the figure has moved by less than tables show; `BETTER` or `WORSE`: by more, with a certainty of 95 % or
    more; else `UNCLEAR`."""
