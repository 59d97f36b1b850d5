"""Prunable layers, their weights as matrices, and the blocks of the network that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable

from torch import Tensor, nn

from harness.errors import HarnessError

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "all": (nn.Linear, nn.Conv2d),
    "linear": (nn.Linear,),
}
"""The classes that a case's choice of layers covers: name → classes."""


def prunable(component: nn.Module, layers: str) -> dict[str, nn.Module]:
    """Return the layers of a component that can be pruned, in the model's order.

    Args:
        component: The module to search.
        layers: A name of `KINDS`.

    Returns:
        Name → layer. A weight that several layers hold occurs once, under the first layer's name. Layers with an empty
        weight are left out.

    Raises:
        HarnessError: There is no such layer, or a layer computes its weight from other parameters.
    """
    return {name: holders[0] for name, holders in held(component, layers).items()}


def held(component: nn.Module, layers: str) -> dict[str, list[nn.Module]]:
    """Return every prunable weight, by the name of its first layer, with all the layers that hold the weight.

    Two parameters in the same place of memory are one weight. Arguments and errors are those of `prunable`.
    """
    # Keep the weight with its name: the address of a freed tensor may be given to another tensor.
    known: dict[Hashable, tuple[str, Tensor]] = {}
    by_name: dict[str, list[nn.Module]] = {}
    for name, module in component.named_modules():
        if isinstance(module, KINDS[layers]) and weight_of(module).numel():
            weight = weight_of(module)
            if not isinstance(weight, nn.Parameter):
                raise HarnessError(f"{name} computes its weight from other parameters; remove its parametrisation")
            first, _ = known.setdefault(_place(weight), (name, weight))
            by_name.setdefault(first, []).append(module)
    if not by_name:
        raise HarnessError(f"{type(component).__name__} has no layer of the kind {layers!r} to prune")
    return by_name


def _place(weight: Tensor) -> Hashable:
    address = weight.data_ptr()
    return (address, weight.device, weight.dtype, weight.shape, weight.stride()) if address else id(weight)


def matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as `[out, in]`, a view: a convolution is flattened to `[out, in / groups · kh · kw]`."""
    return weight_of(layer).detach().flatten(1)


def weight_of(layer: nn.Module) -> Tensor:
    """Return a layer's weight.

    Raises:
        HarnessError: The layer has none.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise HarnessError(f"{type(layer).__name__} has no weight to prune")
    return weight


def blocks(component: nn.Module, names: Iterable[str], kinds: Collection[str]) -> dict[str, list[str]]:
    """Sort layers by the block of the network that holds them.

    Args:
        component: The module that the names belong to.
        names: Names of layers.
        kinds: Class names of the modules that count as one block: `Family.blocks`.

    Returns:
        Name of a block → its layers, in the order given. Each layer belongs to the innermost block around it; a layer
        outside of all blocks is its own block.
    """
    known = {name for name, module in component.named_modules() if type(module).__name__ in kinds}
    members: dict[str, list[str]] = {}
    for name in names:
        parents = [name[: dot.start()] for dot in re.finditer(r"\.", name)]
        members.setdefault(next((parent for parent in reversed(parents) if parent in known), name), []).append(name)
    return members
