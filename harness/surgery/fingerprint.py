"""A few numbers that change when the weights of a model change."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.surgery.layers import matrix, prunable

# Every component's layers are split into this many groups of neighbours.
GROUPS = 8


def fingerprint(components: Mapping[str, nn.Module]) -> list[float]:
    """Return two numbers per group of layers: the root mean square of its weights, and their sum with changing signs.

    Args:
        components: Name → module, pruned or not.

    Returns:
        `2 · GROUPS` numbers per component, fewer where it has fewer layers. Signs alternate within each layer, and the
        sum is divided by the root of the number of weights.
    """
    numbers = []
    for component in components.values():
        layers = [matrix(layer) for layer in prunable(component, "all").values()]
        size = max(1, math.ceil(len(layers) / GROUPS))
        for first in range(0, len(layers), size):
            numbers += _numbers(layers[first : first + size])
    return numbers


def _numbers(weights: list[Tensor]) -> list[float]:
    count = sum(weight.numel() for weight in weights)
    squares = sum(torch.linalg.vector_norm(weight, dtype=torch.float64).item() ** 2 for weight in weights)
    flat = [weight.reshape(-1) for weight in weights]
    signed = sum((w[0::2].sum(dtype=torch.float64) - w[1::2].sum(dtype=torch.float64)).item() for w in flat)
    return [math.sqrt(squares / count), signed / math.sqrt(count)]
