"""Drift: how far a picture has moved from the dense model's picture of the same caption and start noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from torch import Tensor


def drift(embeddings: Tensor, dense: Tensor) -> Tensor:
    """Return 100·(1 - cos) between the embeddings of every pair of pictures.

    0: the scorer sees no difference. The drift of the dense case shows numerical noise alone: it compares the dense
    model's pictures with its pictures at another batch size.

    Args:
        embeddings: The scorer's unit vectors of the pictures, `[n, d]`.
        dense: The scorer's unit vectors of the dense model's pictures, `[n, d]`, in the same order of captions.

    Returns:
        float64 `[n]`.

    Raises:
        HarnessError: The shapes differ.
    """
    if embeddings.shape != dense.shape:
        raise HarnessError(
            f"drift pairs pictures by caption: there are {len(embeddings)} pictures and {len(dense)} dense ones; "
            "make both from the same captions"
        )
    # From differences: computed directly, 1 - cos of two nearly equal vectors would lose all digits.
    return 50 * (embeddings.double() - dense.double()).square().sum(1)


def measure(sample: Sample) -> Values:
    """Return the mean drift, and the drift per caption."""
    return by_caption(drift(sample.own.embeddings, sample.dense.embeddings), sample.groups)


METRIC = Metric(
    name="drift",
    label="drift",
    summary="distance to the dense model's picture, 100·(1 - cos) in the scorer's CLIP. The row dense compares two "
    "batch sizes",
    measure=measure,
    direction="lower",
    decimals=2,
    pairing="caption",
    takes=frozenset({"embeddings", "dense"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.033,
    spread=0.0001,
    effect_tolerance=1.5,
    effect_share=0.084,
    brief=True,
    short="distance of a picture from the dense one",
)
