"""Composition accuracy: is every thing, colour, size, relation and background of the caption in the picture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from harness.measurement import Measurement, share
from harness.scenes.judges import ATTRIBUTES, IGNORED


@dataclass(frozen=True)
class Composition:
    """What the reader found. right: bool `[n, attributes]`. wanted: int64 of the same shape, what a scene shows."""

    right: Tensor
    wanted: Tensor

    @property
    def exact(self) -> Tensor:
        """Return bool `[n]`: everything in the picture is as the caption says."""
        return self.right.all(1)

    def accuracy(self) -> Measurement:
        """Return the share of pictures with every attribute right at once."""
        return share(self.exact)

    def by_attribute(self) -> dict[str, Measurement]:
        """Return the share of right ones per attribute, among the scenes that have it."""
        return {
            name: share(self.right[:, i][self.wanted[:, i] != IGNORED])
            for i, name in enumerate(ATTRIBUTES)
            if (self.wanted[:, i] != IGNORED).any()
        }
