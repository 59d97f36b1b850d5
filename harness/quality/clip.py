"""CLIP score: how well a picture fits its caption, in the eyes of a CLIP that is not the one under test."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Scorer(Protocol):
    """A CLIP: both methods return unit vectors `[n, d]`."""

    def tokens(self, captions: list[str]) -> Tensor:
        """Return token ids."""

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Return one vector per caption."""

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Return one vector per picture."""


def clip_scores(scorer: Scorer, embeddings: Tensor, captions: list[str]) -> Tensor:
    """Return 100·cos of picture and caption, per picture `[n]`, not clamped (Hessel et al., arXiv 2104.08718).

    embeddings: what the scorer makes of the pictures, unit vectors `[n, d]`. Differs: the published score multiplies by
    2.5 and clamps at 0.
    """
    text = scorer.embed_text(scorer.tokens(captions).to(embeddings.device))
    return 100 * (embeddings * text).sum(1)
