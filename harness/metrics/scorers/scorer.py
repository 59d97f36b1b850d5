"""The types of networks that look at pictures: a scorer serves all metrics, an extractor FID and KID alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from harness.metrics.evidence import Evidence


class Extractor(Protocol):
    """A network whose features FID and KID compare."""

    @property
    def digest(self) -> str:
        """Return the digest of everything that the features depend on."""

    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the features of pictures.

        Args:
            images: uint8 `[3, h, w]` each, on the CPU.

        Returns:
            float32 `[n, d]` on the CPU.
        """


class Scorer(ABC):
    """A network that looks at pictures. A scorer is an `Extractor` too."""

    sees_composition: bool = False
    """Whether the scorer can read the content of a picture, as the metric `composition` needs."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Return the digest of everything that the scorer's figures depend on."""

    @abstractmethod
    def look(self, images: Tensor, captions: Sequence[str]) -> Evidence:
        """Score pictures against their captions.

        Args:
            images: uint8 `[n, 3, h, w]` on the CPU.
            captions: One per picture.

        Returns:
            The evidence, on the CPU: `degenerate` is False for every picture, and `pictures` is None.
        """

    @abstractmethod
    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return the features of pictures: see `Extractor`."""

    def refuse(self, encoder: torch.nn.Module) -> None:  # noqa: B027 - most scorers accept every encoder
        """Raise HarnessError where a text encoder that is under test is also the scorer's own."""


def none_degenerate(images: Sequence[Tensor] | Tensor) -> Tensor:
    """Return bool `[n]`, all False: a scorer does not know which pictures show nothing."""
    return torch.zeros(len(images), dtype=torch.bool)


def refuse(scorer: Scorer, components: Mapping[str, torch.nn.Module]) -> None:
    """Raise HarnessError where the scorer is a text encoder of the pipeline. components: the pipeline's, by name."""
    for name, module in components.items():
        if name.startswith("text_encoder"):
            scorer.refuse(module)
