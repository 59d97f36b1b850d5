"""Counts weights, zeros and bytes of all components. A component that stays pruned by mistake shows here."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from harness.record import Counts
from harness.surgery.layers import prunable, weight_of


def census(components: Mapping[str, nn.Module], layers: str) -> dict[str, Counts]:
    """Count the weights of every component, pruned or not, in one pass.

    Args:
        components: Name → module.
        layers: A name of `layers.KINDS`. The weights of these layers are the targeted ones.

    Returns:
        Component → counts; `rounding` stays 0.

    Raises:
        HarnessError: A component has no layer of this kind.
    """
    return {name: _counts(module, layers) for name, module in components.items()}


def _counts(module: nn.Module, layers: str) -> Counts:
    targeted = {id(weight_of(layer)) for layer in prunable(module, layers).values()}
    packable = {id(weight_of(layer)) for layer in prunable(module, "all").values()}
    total = zeros_all = numbers = zeros = dense = saved = 0
    for parameter in module.parameters():
        size, width = parameter.numel(), parameter.element_size()
        none = int((parameter == 0).sum())
        total, zeros_all, dense = total + size, zeros_all + none, dense + size * width
        if id(parameter) in targeted:
            numbers, zeros = numbers + size, zeros + none
        if id(parameter) in packable:
            # Stored as a bitmap and the surviving weights, or dense where that is smaller.
            saved += max(0, none * width - -(-size // 8))
    return Counts(
        parameters=total,
        targeted=numbers,
        zeros=zeros,
        sparsity_targeted=zeros / numbers,
        sparsity_component=zeros_all / total,
        dense_bytes=dense,
        stored_bytes=dense - saved,
    )
