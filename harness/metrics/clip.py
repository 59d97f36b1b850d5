"""CLIP score: how well a picture fits its caption, in a CLIP that is not part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_caption

if TYPE_CHECKING:
    from torch import Tensor


def clip_scores(embeddings: Tensor, texts: Tensor) -> Tensor:
    """Return 100·cos of every picture and its caption (Hessel et al., arXiv 2104.08718).

    Differs: the published score is 2.5·cos, clamped at 0.

    Args:
        embeddings: The scorer's unit vectors of the pictures, `[n, d]`.
        texts: The scorer's unit vectors of their captions, `[n, d]`.

    Returns:
        `[n]`.
    """
    return 100 * (embeddings * texts).sum(1)


def measure(sample: Sample) -> Values:
    """Return the mean of the scores, and the score per caption."""
    return by_caption(sample.own.scores, sample.groups)


METRIC = Metric(
    name="clip",
    label="CLIP score",
    summary="100·cos of picture and caption in a CLIP that is not part of the model",
    measure=measure,
    direction="higher",
    decimals=2,
    pairing="caption",
    takes=frozenset({"scores"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.031,
    spread=0.0001,
    effect_tolerance=1.3,
    effect_share=0.09,
    headline=True,
    margin=0.5,
    short="fit of picture and caption, 100·cos",
)
