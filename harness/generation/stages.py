"""Numbers that say at which stage two runs part: random projections of the first captions' tensors.

Stages, in the order of the work: "weights", "text" (the encoded captions), "latent 1", "latent 2", … (after every
denoising step), "picture", "features", "scores". A stage of a caption is `WIDTH` numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# How many captions are followed, and how many numbers a stage of one caption has.
WATCHED, WIDTH = 4, 4

Stages = Mapping[str, Tensor]
"""Stage → projections, float64 `[captions, WIDTH]`, of the first captions: `WATCHED` at most."""


def project(values: Tensor) -> Tensor:
    """Return random projections of rows.

    Every number is the sum of a row's values with fixed random signs, divided by the root of their count: where values
    have mean 0 and variance v, so has the number.

    Args:
        values: `[n, ...]` of any dtype and device.

    Returns:
        float64 `[n, WIDTH]` on the CPU.
    """
    rows = values.detach().flatten(1).double()
    size = rows.shape[1]
    signs = torch.randint(0, 2, (size, WIDTH), generator=torch.Generator().manual_seed(size)).double() * 2 - 1
    return (rows @ signs.to(rows.device)).cpu() / math.sqrt(size)


class Watch:
    """Projects the stages of one batch."""

    def __init__(self, captions: int) -> None:
        """Follow the first captions of a batch. captions: how many."""
        self.captions = captions
        self.stages: dict[str, Tensor] = {}

    def see(self, stage: str, values: Tensor | Sequence[Tensor]) -> None:
        """Keep the projections of a stage.

        Args:
            stage: Its name.
            values: `[batch, ...]`, or several tensors, whose projections are added. Tensors of another batch dimension
                than the captions' are left out.
        """
        if not self.captions:
            return
        tensors = [values] if isinstance(values, Tensor) else values
        parts = [project(tensor[: self.captions]) for tensor in tensors if len(tensor) >= self.captions]
        if parts:
            self.stages[stage] = torch.stack(parts).sum(0)


def joined(parts: Sequence[Stages]) -> dict[str, Tensor]:
    """Return the stages of the first captions of all batches, in the order of the batches."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {name: torch.cat([part[name] for part in parts if name in part])[:WATCHED] for name in names}
