"""Counts weights, zeros and bytes of all components. A component that stays pruned by mistake shows here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from harness import digests
from harness.record import Counts
from harness.surgery.layers import Kinds, chosen, matrix, prunable, weight_of


def census(
    components: Mapping[str, nn.Module], layers: str, kinds: Kinds | None = None, given_back: str = ""
) -> dict[str, Counts]:
    """Count the weights of every component, pruned or not, in one pass.

    Args:
        components: Name → module.
        layers: A choice of layers, as for `layers.prunable`. The weights of these layers are the targeted ones. A
            component may have none of a kind that only the family knows.
        kinds: The kinds of layers of the components' family.
        given_back: A kind of layers that are not targeted; "" for none.

    Returns:
        Component → counts; `rounding` stays 0.

    Raises:
        HarnessError: A component has no layer that is an `nn.Linear` or `nn.Conv2d`, as `layers` says.
    """
    return {name: _counts(module, layers, kinds, given_back) for name, module in components.items()}


def _counts(module: nn.Module, layers: str, kinds: Kinds | None, given_back: str) -> Counts:
    targeted = _weights(module, layers, kinds) - (_weights(module, given_back, kinds) if given_back else set())
    packable = {id(weight_of(layer)) for layer in prunable(module, "all").values()}
    total = zeros_all = numbers = zeros = dense = saved = 0
    for parameter in module.parameters():
        size, width = parameter.numel(), parameter.element_size()
        # Counting in place reads the weights once. torch has no such function for float8.
        none = size - int(parameter.count_nonzero()) if width > 1 else int((parameter == 0).sum())
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
        sparsity_targeted=zeros / numbers if numbers else 0.0,
        sparsity_component=zeros_all / total,
        dense_bytes=dense,
        stored_bytes=dense - saved,
    )


def surviving(components: Mapping[str, nn.Module]) -> str:
    """Return one digest of which weights are not zero, in the prunable layers of all components.

    It is the digest of the keep masks of a case that has pruned these layers, as `masks.keep_digest` gives it.
    """
    return digests.of_tensors(
        (f"{component}.{name}", matrix(layer) != 0)
        for component, module in components.items()
        for name, layer in prunable(module, "all").items()
    )


def changed(component: nn.Module, dense: nn.Module | None) -> int:
    """Count the prunable layers whose weight differs in two components. A layer that only one of them has counts.

    Args:
        component: The component of a candidate.
        dense: The target's component of the same name; None where it has none.
    """
    ours = prunable(component, "all")
    theirs = prunable(dense, "all") if dense is not None else {}
    return sum(
        name not in ours or name not in theirs or not _equal(ours[name], theirs[name]) for name in {**ours, **theirs}
    )


def _equal(one: nn.Module, other: nn.Module) -> bool:
    first, second = matrix(one), matrix(other)
    return first.dtype == second.dtype and torch.equal(first, second)


def _weights(module: nn.Module, layers: str, kinds: Kinds | None) -> set[int]:
    """Return the ids of the weights of the chosen layers, none where the component has no such layer."""
    layers_of = prunable(module, layers) if layers in ("all", "linear") else chosen(module, layers, kinds)
    return {id(weight_of(layer)) for layer in layers_of.values()}
