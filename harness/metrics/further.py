"""Further scorers: every `--scorer` behind the first one adds a metric, which is named after it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "score_"
_NAME = re.compile(r"[a-z0-9_]+")


def metric(scorer: str) -> Metric:
    """Return the metric of a further scorer.

    Its name alone decides all facts, so that `prunegate compare` and `view` know it from a file of results.

    Args:
        scorer: The scorer's name: lower-case letters, digits and "_".

    Raises:
        HarnessError: The name has other characters.
    """
    if not _NAME.fullmatch(scorer):
        raise HarnessError(
            f"--scorer {scorer}: the name may have the characters a-z, 0-9 and _ only; give NAME=, such as mine=DIR"
        )
    # Tolerance and noise are those of the CLIP score: a scorer of the family of CLIPs has its scale.
    return Metric(
        name=PREFIX + scorer,
        label=scorer,
        summary=f"score of picture and caption by the further scorer {scorer}",
        measure=_measure(PREFIX + scorer),
        direction="higher",
        decimals=2,
        pairing="caption",
        takes=frozenset({"further"}),
        tolerance=0.02,
        noise=0.0,
        solved_noise=0.031,
        spread=0.0001,
        default=False,
        short=f"score by --scorer {scorer}",
    )


def _measure(name: str) -> Callable[[Sample], Values]:
    def measure(sample: Sample) -> Values:
        return by_caption(sample.own.further[name], sample.groups)

    return measure


def of_further(names: Iterable[str]) -> list[Metric]:
    """Return the metrics of those names that further scorers have."""
    return [metric(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)]
