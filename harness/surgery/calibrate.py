"""Hooks that sum up the inputs of a component's layers while something else runs the model."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.surgery.inputs import statistics
from harness.surgery.layers import prunable
from pruners.stats import merge
from pruners.types import LayerStats

# Up to this many values an input is also compared by value: every time embedding is computed anew for its layer.
SMALL = 100_000


@dataclass
class _Input:
    """An input seen in the forward pass that is going on, and where its statistics go."""

    tensor: weakref.ref[Tensor]
    copy: Tensor | None
    form: tuple[object, ...]
    slot: int


@dataclass
class Collector:
    """Sums up the inputs of layers. Layers that are fed the same tensor share one slot, so it is summed up once.

    slots: layer → slot. found: one `LayerStats` per slot. gram: whether Gram matrices are collected.
    """

    gram: bool
    measure: bool = True
    mask: Tensor | None = None
    slots: dict[str, int] = field(default_factory=dict)
    widths: list[int] = field(default_factory=list)
    found: dict[int, LayerStats] = field(default_factory=dict)
    _now: list[_Input] = field(default_factory=list)

    def begin(self) -> None:
        """Forget the inputs of the forward pass before."""
        self._now.clear()

    def see(self, name: str, layer: nn.Module, x: Tensor) -> None:
        """Take in one input of one layer."""
        known = self._same(layer, x)
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = known.slot if known else len(self.widths)
            if known is None:
                self.widths.append(_width(layer))
        if known is not None and known.slot == slot:
            return
        if slot in (seen.slot for seen in self._now) and _shared(self.slots, slot):
            raise HarnessError(f"layer {name} no longer has the input that it shared; calibrate it by itself")
        copy = x.detach().clone() if x.numel() <= SMALL else None
        self._now.append(_Input(weakref.ref(x), copy, _form(layer, x), slot))
        if not self.measure:
            return
        kept = x
        if self.mask is not None and x.shape[: self.mask.dim()] == self.mask.shape:
            kept = x[self.mask]
        stats = statistics(layer, kept.detach(), self.gram)
        self.found[slot] = merge(self.found[slot], stats) if slot in self.found else stats

    def _same(self, layer: nn.Module, x: Tensor) -> _Input | None:
        """Return the input of this pass that is the same tensor, or for small ones has the same values."""
        form = _form(layer, x)
        for seen in self._now:
            same = seen.tensor() is x or (seen.copy is not None and torch.equal(seen.copy, x))
            if seen.form == form and same:
                return seen
        return None


def _form(layer: nn.Module, x: Tensor) -> tuple[object, ...]:
    """Return what must agree, beside the tensor, for two layers to have the same rows."""
    if isinstance(layer, nn.Conv2d):
        kernel = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode
        return (x.shape, *kernel)
    return (x.shape,)


def _width(layer: nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return groups * weight[0].numel() ** 2


def _shared(slots: Mapping[str, int], slot: int) -> bool:
    return sum(s == slot for s in slots.values()) > 1


@contextmanager
def collecting(
    component: nn.Module, layers: str, gram: bool, measure: bool = True, mask: Callable[[Any], Tensor] | None = None
) -> Iterator[Collector]:
    """Collect the inputs of the component's prunable layers while the body runs the model.

    measure: False only finds out which layers share an input. mask: from the keyword arguments and arguments of the
    component's forward pass to the tokens that count, bool `[n, tokens]`; None counts all. The hooks are gone
    afterwards, after an exception too.
    """
    collector = Collector(gram, measure)

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        collector.begin()
        if mask is not None:
            collector.mask = mask((*args, *kwargs.values())[0])

    def see(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        collector.see(name, module, args[0])

    handles = [component.register_forward_pre_hook(begin, with_kwargs=True)]
    handles += [
        layer.register_forward_pre_hook(partial(see, name)) for name, layer in prunable(component, layers).items()
    ]
    try:
        yield collector
    finally:
        for handle in handles:
            handle.remove()
        collector.begin()
