"""The evidence on one model's pictures: all data that metrics are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.generation.stages import joined as joined_stages


@dataclass(frozen=True)
class Composition:
    """The attributes that the reader of `scenes` sees in every picture, compared with the caption."""

    right: Tensor
    """bool `[n, attributes]`: the attribute is as the caption says."""
    wanted: Tensor
    """int64 `[n, attributes]`: the attribute's class according to the caption; `IGNORED` where the scene has none."""


@dataclass(frozen=True)
class Evidence:
    """All data on n pictures that metrics read, on the CPU. `merged` joins the evidence of several batches."""

    features: Tensor
    """Features for FID and KID, float32 `[n, d]`."""
    embeddings: Tensor
    """The scorer's unit vectors of the pictures, float32 `[n, e]`."""
    scores: Tensor
    """100·cos of picture and caption, float32 `[n]`."""
    degenerate: Tensor
    """bool `[n]`: the picture has values that are not finite, or shows nothing."""
    composition: Composition | None = None
    """The attributes of the pictures, None where the scorer cannot read them."""
    pictures: Tensor | None = None
    """uint8 `[n, 3, h, w]`, None where no metric of the run takes pictures."""
    stages: Mapping[str, Tensor] = field(default_factory=dict)
    """Stage → projections of the first captions, see `harness.generation.stages`. No metric reads them."""
    further: Mapping[str, Tensor] = field(default_factory=dict)
    """Metric of a further scorer → its scores, float32 `[n]`; see `harness.metrics.further`."""

    def __len__(self) -> int:
        return len(self.scores)


def of_no_picture() -> Evidence:
    """Return the evidence of a case whose pictures nobody made."""
    empty = torch.empty(0)
    return Evidence(empty, empty, empty, empty.bool())


def merged(parts: Sequence[Evidence]) -> Evidence:
    """Return the evidence on all pictures, in the order of the parts. All parts must hold the same fields."""

    def joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
        known = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(known) if known else None

    composed = [part.composition for part in parts if part.composition is not None]
    return Evidence(
        torch.cat([part.features for part in parts]),
        torch.cat([part.embeddings for part in parts]),
        torch.cat([part.scores for part in parts]),
        torch.cat([part.degenerate for part in parts]),
        Composition(torch.cat([c.right for c in composed]), torch.cat([c.wanted for c in composed]))
        if composed
        else None,
        joined([part.pictures for part in parts]),
        joined_stages([part.stages for part in parts]),
        {name: torch.cat([part.further[name] for part in parts]) for name in parts[0].further},
    )
