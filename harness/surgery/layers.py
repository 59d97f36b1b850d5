"""Prunable layers, their weights as matrices, and the blocks of the network that hold them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

from torch import Tensor, nn

from harness.errors import HarnessError

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "all": (nn.Linear, nn.Conv2d),
    "linear": (nn.Linear,),
    "convolution": (nn.Conv2d,),
}
"""The classes that a case's choice of layers covers: name → classes."""

Kinds = Mapping[str, str]
"""Further choices of layers: name → the expression that their names match, see `Family.kinds`."""


def prunable(component: nn.Module, layers: str, kinds: Kinds | None = None) -> dict[str, nn.Module]:
    """Return the layers of a component that can be pruned, in the model's order.

    Args:
        component: The module to search.
        layers: A name of `KINDS`, or of `kinds`.
        kinds: The kinds of layers of the component's family.

    Returns:
        Name → layer. A weight that several layers hold occurs once, under the first layer's name. Layers with an empty
        weight are left out.

    Raises:
        HarnessError: There is no such layer, or a layer computes its weight from other parameters.
    """
    return {name: holders[0] for name, holders in held(component, layers, kinds).items()}


def chosen(component: nn.Module, layers: str, kinds: Kinds | None = None) -> dict[str, nn.Module]:
    """Return the layers of `prunable`, none where the component has no such layer."""
    return {name: holders[0] for name, holders in _chosen(component, layers, kinds).items()}


def held(component: nn.Module, layers: str, kinds: Kinds | None = None) -> dict[str, list[nn.Module]]:
    """Return every prunable weight, by the name of its first layer, with all the layers that hold the weight.

    Two parameters in the same place of memory are one weight. It is of the kind that its first layer is of. Arguments
    and errors are those of `prunable`.
    """
    by_name = _chosen(component, layers, kinds)
    if not by_name:
        name = type(component).__name__
        raise HarnessError(f"{name} has no layer of the kind {layers!r} to prune; choose other layers")
    return by_name


def _chosen(component: nn.Module, layers: str, kinds: Kinds | None) -> dict[str, list[nn.Module]]:
    by_name = _by_name(component, KINDS.get(layers, KINDS["all"]))
    if layers in KINDS:
        return by_name
    fits = _chooser(layers, kinds or {})
    return {name: holders for name, holders in by_name.items() if fits(name)}


def _chooser(layers: str, kinds: Kinds) -> Callable[[str], bool]:
    """Return a function that says whether the layer of a name is of a kind."""
    if layers not in kinds:
        known = ", ".join([*KINDS, *kinds])
        raise HarnessError(
            f"layers {layers}: the pipeline's family does not say which layers these are; use {known}, or add "
            f"{layers} to the `kinds` of the `Family`"
        )
    expression = re.compile(kinds[layers])
    return lambda name: expression.search(f".{name}.") is not None


def _by_name(component: nn.Module, classes: tuple[type[nn.Module], ...]) -> dict[str, list[nn.Module]]:
    # Keep the weight with its name: the address of a freed tensor may be given to another tensor.
    known: dict[Hashable, tuple[str, Tensor]] = {}
    by_name: dict[str, list[nn.Module]] = {}
    for name, module in component.named_modules():
        if isinstance(module, classes) and weight_of(module).numel():
            weight = weight_of(module)
            if not isinstance(weight, nn.Parameter):
                raise HarnessError(f"{name} computes its weight from other parameters; remove its parametrisation")
            first, _ = known.setdefault(_place(weight), (name, weight))
            by_name.setdefault(first, []).append(module)
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
