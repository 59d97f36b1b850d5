"""Drift: how far a picture has moved from the dense model's of the same caption and starting noise."""

from __future__ import annotations

from torch import Tensor

from harness.errors import HarnessError


def drift(embeddings: Tensor, dense: Tensor) -> Tensor:
    """Return 100·(1 - cos) between a CLIP's embeddings of pairs of pictures, per pair, float64 `[n]`.

    embeddings, dense: unit vectors `[n, d]` in the same order of captions. 0: the scorer sees no difference; what
    numerical noise alone gives is the null arm, the dense model's own drift at another batch size. Raises HarnessError
    where the shapes differ.
    """
    if embeddings.shape != dense.shape:
        raise HarnessError(f"drift pairs pictures: found {len(embeddings)} and {len(dense)}, wanted as many")
    # By differences: 1 - cos of vectors that are nearly equal would lose all its digits.
    return 50 * (embeddings.double() - dense.double()).square().sum(1)
