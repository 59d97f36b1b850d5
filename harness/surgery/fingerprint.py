"""A few numbers that change when the weights of a model change."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.surgery.layers import matrix, prunable

# Every component's layers are split into this many groups of neighbours.
GROUPS = 8
# Weights are summed in parts that fit into a processor's cache, as columns: a tenth of the time of one sum. Both are
# even, so that signs go on alternating.
PART, WIDTH = 2**18, 64


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
    squares, columns = [], []
    for weight in weights:
        for part in torch.split(weight.reshape(-1), PART):
            precise = part.double()
            squares.append(precise.dot(precise))
            columns.append(nn.functional.pad(precise, (0, -len(part) % WIDTH)).view(-1, WIDTH).sum(0))
    summed = torch.stack(columns).sum(0)
    signed = (summed[0::2].sum() - summed[1::2].sum()).item()
    return [math.sqrt(torch.stack(squares).sum().item() / count), signed / math.sqrt(count)]
