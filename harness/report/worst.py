"""The captions that lost most against the dense model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics import METRICS

if TYPE_CHECKING:
    from harness.metrics.metric import Metric
    from harness.record import Record

COUNT = 5


@dataclass(frozen=True)
class Lost:
    """A caption whose picture is worse than the dense model's."""

    index: int
    """The number of the caption, from 0."""
    caption: str
    """The caption."""
    dense: float
    """The value of the dense model's picture."""
    own: float
    """The value of the case's picture."""


def scored(record: Record) -> Metric | None:
    """Return the metric that ranks captions: the first one of headlines with a value per caption; None: there is none.

    A share of right pictures has too few values to rank.
    """
    ranking = (m for m in METRICS.values() if m.headline and m.pairing == "caption" and not m.steps)
    return next((metric for metric in ranking if metric.name in record.paired), None)


def worst(record: Record, dense: Record | None, captions: Sequence[str]) -> list[Lost]:
    """Return the captions that lost most, the worst one first, at most `COUNT`.

    Args:
        record: The record of a case.
        dense: The dense model's record, of the same captions.
        captions: All captions. Where several belong to one picture, values belong to pictures, and no caption is
            ranked.
    """
    metric = scored(record)
    if metric is None or dense is None or record.case.is_dense:
        return []
    before, after = dense.paired.get(metric.name, []), record.paired[metric.name]
    if not len(before) == len(after) == len(captions):
        return []
    every = [Lost(i, text, before[i], after[i]) for i, text in enumerate(captions)]
    lost = sorted(every, key=lambda one: -metric.worse_by(one.own - one.dense))
    return [one for one in lost if metric.worse_by(one.own - one.dense) > 0][:COUNT]
