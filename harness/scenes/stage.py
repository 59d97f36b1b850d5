"""What every training of `scenes` is: data drawn from a step's number, a loss, and something left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.scenes.captions import Scene
from harness.scenes.render import sample_batch


@dataclass
class Stage:
    """One training: `loss(step)` draws its own batch from the step's number, so that a resumed run sees new data."""

    name: str
    model: Any
    rate: float
    folder: Path
    device: torch.device
    seed: int
    batch: int
    splits: tuple[str, ...] = ("train",)
    twins: bool = False
    ema: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def data(self, step: int) -> tuple[Tensor, list[str], list[Scene]]:
        """Return the pictures in [-1, 1], captions and scenes of one step."""
        pixels, captions, scenes = sample_batch(self.batch, self.seed * 10**7 + step, self.splits, self.twins)
        return (pixels * 2 - 1).to(self.device), captions, scenes

    def groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return groups of parameters, each with its share of the learning rate."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, str]:
        """Return the step's loss (a scalar) and a few words on how it goes."""
        raise NotImplementedError

    def finish(self, model: Any) -> None:
        """Write what the training leaves behind into `folder`."""
        raise NotImplementedError
