"""Prunable layers and their weights as matrices."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor, nn

from harness.errors import HarnessError

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "all": (nn.Linear, nn.Conv2d),
    "linear": (nn.Linear,),
}


def prunable(component: nn.Module, layers: str) -> dict[str, nn.Module]:
    """Return the component's layers by name, in the model's order: every Linear, and with "all" every Conv2d.

    A weight that two layers share is listed once, under its first name. Raises HarnessError where there is none.
    """
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, module in component.named_modules():
        if isinstance(module, KINDS[layers]) and id(weight_of(module)) not in seen:
            seen.add(id(weight_of(module)))
            found[name] = module
    if not found:
        raise HarnessError(f"{type(component).__name__} has no layer of the kind {layers!r} to prune")
    return found


def matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as `[out, in]`: a convolution is flattened to `[out, in/groups * kh * kw]`; a view."""
    return weight_of(layer).detach().flatten(1)


def weight_of(layer: nn.Module) -> Tensor:
    """Return a layer's weight parameter. Raises HarnessError where it has none."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise HarnessError(f"{type(layer).__name__} has no weight to prune")
    return weight


# What counts as one block when sparsity is spread by blocks; a layer outside of them is a block by itself.
BLOCKS = ("ResnetBlock2D", "BasicTransformerBlock", "JointTransformerBlock", "CLIPEncoderLayer", "T5Block")


def blocks(component: nn.Module, names: Iterable[str]) -> dict[str, list[str]]:
    """Return block → the names of its layers, in the order given; the innermost of `BLOCKS` that holds a layer."""
    held = {name for name, module in component.named_modules() if type(module).__name__ in BLOCKS}
    found: dict[str, list[str]] = {}
    for name in names:
        parents = [name[: m.start()] for m in re.finditer(r"\.", name)]
        found.setdefault(next((p for p in reversed(parents) if p in held), name), []).append(name)
    return found
