"""A small network with everything that makes surgery awkward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.surgery.layers import matrix, prunable
from pruners.magnitude import prune
from pruners.types import Pruned


class Toy(nn.Module):
    """A grouped convolution, two layers that share one weight, and things that are never pruned."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(6, 5)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(5)
        self.nothing = nn.Linear(1, 5, bias=False)
        self.nothing.weight = nn.Parameter(torch.empty(5, 0))


def pruning(module: nn.Module, sparsity: float = 0.5) -> dict[str, dict[str, Pruned]]:
    """Return the magnitude masks of all layers, for the component "toy"."""
    return {"toy": {n: prune(matrix(layer), None, [sparsity], 0)[0] for n, layer in prunable(module, "all").items()}}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
