"""The base class of the five training stages of `scenes`: how a step draws its data, the loss, and saving."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.scenes.captions import Scene
from harness.scenes.render import sample_batch


@dataclass
class Stage:
    """One training stage. The number of a step decides its batch, so that a resumed run continues with new data."""

    name: str
    """One of `stages.STAGES`."""
    model: Any
    """The module in training."""
    rate: float
    """Peak learning rate."""
    folder: Path
    """The weights folder that the stage writes into."""
    device: torch.device
    """Where it trains."""
    seed: int
    """Seed of the stage's data: every stage has its own."""
    batch: int
    """Pictures per step."""
    splits: tuple[str, ...] = ("train",)
    """The splits that scenes come from: names of `captions.SPLITS`."""
    twins: bool = False
    """Whether the second half of every batch are twins of the first half."""
    ema: float | None = None
    """Decay of the averaged weights; None: the stage saves the weights of its last step."""
    tokenizer: Any = None
    """The tokenizer, for the stage that trains the text encoder."""

    def data(self, step: int) -> tuple[Tensor, list[str], list[Scene]]:
        """Draw the batch of one step.

        Returns:
            Pictures (float32 `[batch, 3, 64, 64]` in [-1, 1]), captions, and scenes.
        """
        pixels, captions, scenes = sample_batch(self.batch, self.seed * 10**7 + step, self.splits, self.twins)
        return (pixels * 2 - 1).to(self.device), captions, scenes

    def groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return (factor, parameters) pairs: the factor multiplies the learning rate of its parameters."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, str]:
        """Return the loss of one step, a scalar tensor, and a few words about it for the progress line."""
        raise NotImplementedError

    def finish(self, model: Any) -> None:
        """Save the trained model into `folder`.

        Args:
            model: The averaged weights where `ema` is set, else the model in training.
        """
        raise NotImplementedError
