"""DINOv2 similarity: how alike DINOv2 sees a picture and the dense model's picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from torch import Tensor


def similarity(features: Tensor, dense: Tensor) -> Tensor:
    """Return 100·cos between the features of every pair of pictures (DINO score: Ruiz et al., arXiv 2208.12242, 4.2).

    Args:
        features: DINOv2's features of the pictures, `[n, d]`.
        dense: The features of the dense model's pictures, in the same order.

    Returns:
        float64 `[n]`.

    Raises:
        HarnessError: The shapes differ.
    """
    from torch.nn.functional import normalize

    if features.shape != dense.shape:
        raise HarnessError(
            f"dinov2 pairs pictures by caption: there are {len(features)} pictures and {len(dense)} dense ones; "
            "make both from the same captions"
        )
    # From differences, as in `drift`: 1 - cos of two nearly equal vectors keeps its digits.
    return 100 - 50 * (normalize(features.double()) - normalize(dense.double())).square().sum(1)


def measure(sample: Sample) -> Values:
    """Return the mean similarity, and the similarity per caption."""
    return by_caption(similarity(sample.own.features, sample.dense.features), sample.groups)


# Tolerance and noise are those of drift, which is a cosine too. Nobody has measured the noise of DINOv2's weights,
# because they are not part of the project; so another stack does not judge the metric.
METRIC = Metric(
    name="dinov2",
    label="DINOv2 to dense",
    summary="likeness to the dense model's picture, 100·cos of DINOv2's features; needs `--features dinov2:DIR`",
    measure=measure,
    direction="higher",
    decimals=2,
    pairing="caption",
    takes=frozenset({"features", "dense", "dinov2"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.033,
    default=False,
    short="likeness to the dense model's picture, by DINOv2",
)
