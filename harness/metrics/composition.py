"""Composition: is every object, colour, size, relation and background of the caption in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.measurement import Measurement, share
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from torch import Tensor

    from harness.metrics.evidence import Composition


def exact(composition: Composition) -> Tensor:
    """Return bool `[n]`: every attribute of the picture is as the caption says."""
    return composition.right.all(1)


def by_attribute(composition: Composition) -> dict[str, Measurement]:
    """Return attribute → share of pictures in which the attribute is right, among the scenes that have it."""
    from harness.scenes.judges import ATTRIBUTES, IGNORED

    right, wanted = composition.right, composition.wanted
    return {
        name: share(right[:, i][wanted[:, i] != IGNORED])
        for i, name in enumerate(ATTRIBUTES)
        if (wanted[:, i] != IGNORED).any()
    }


def measure(sample: Sample) -> Values:
    """Return the share of pictures with every attribute right, and 0 or 1 per caption."""
    if sample.own.composition is None:
        raise HarnessError("composition needs the scorer of `scenes`; leave composition out for your own pipelines")
    return by_caption(exact(sample.own.composition), sample.groups)


METRIC = Metric(
    name="composition",
    label="composition",
    summary="share of pictures in which background, number, relation, and every shape, colour and size are right",
    measure=measure,
    direction="higher",
    decimals=3,
    pairing="caption",
    takes=frozenset({"composition"}),
    tolerance=0.016,
    noise=0.0,
    solved_tolerance=2.0,
    solved_noise=0.36,
    solved_unit="picture",
    effect_tolerance=0.058,
    effect_share=0.15,
    steps=True,
    headline=True,
    margin=0.05,
    short="share of pictures with everything right",
)
