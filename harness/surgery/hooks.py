"""Hooks that collect statistics of layer inputs while the pipeline runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.surgery.inputs import statistics
from harness.surgery.layers import Kinds, held
from pruners.stats import merge, scaled
from pruners.types import LayerStats

# Inputs of up to this many values are also compared by value, because every layer computes its time embedding again.
SMALL = 100_000


@dataclass
class _Input:
    """One input of the current forward pass, and the slot of its statistics."""

    tensor: weakref.ref[Tensor]
    """The input tensor of a layer."""
    version: int | None
    """The tensor's version counter. None for inference tensors: they have none."""
    copy: Tensor | None
    """A copy of the values, for small tensors."""
    form: tuple[object, ...]
    """Shape and kernel: two layers have the same rows only if these are equal."""
    slot: int
    """The slot of the input's statistics."""
    layers: set[str]
    """The layers that have read the input."""

    def fits(self, layer: nn.Module, x: Tensor) -> bool:
        """Return whether a layer that reads `x` has the same rows: the same unchanged tensor, or small equal values."""
        if self.form != _form(layer, x):
            return False
        if self.copy is not None:
            return torch.equal(self.copy, x)
        return self.tensor() is x and self.version is not None and self.version == x._version


@dataclass
class Collector:
    """Sums up the inputs of layers. Layers that read the same tensor share one slot, so it is summed up once."""

    gram: bool
    """Whether Gram matrices are collected."""
    with_sums: bool = False
    """Whether sums of inputs are collected, beside sums of squares."""
    weight: float = 1.0
    """How much the rows of the coming inputs count."""
    measure: bool = True
    """False: nothing is summed up; the collector only learns which layers share an input."""
    alone: set[str] = field(default_factory=set)
    """Layers that must not share a slot with layers of other names."""
    mask: Tensor | None = None
    """The tokens of the current forward pass that count, bool `[n, tokens]`; None: all count."""
    slots: dict[str, int] = field(default_factory=dict)
    """Layer → slot."""
    widths: list[int] = field(default_factory=list)
    """Slot → number of values of its Gram matrices."""
    sums: dict[int, LayerStats] = field(default_factory=dict)
    """Slot → statistics so far."""
    _now: list[_Input] = field(default_factory=list)
    _passes: int = 0

    def begin(self) -> None:
        """Start a forward pass."""
        self._now.clear()
        self._passes += 1

    def see(self, name: str, layer: nn.Module, x: Tensor) -> None:
        """Add one input of one layer.

        Args:
            name: The layer's name. Several layers that hold one weight have one name.
            layer: The layer.
            x: The layer's input.

        Raises:
            HarnessError: The input cannot be summed up.
        """
        # An input that a layer reads twice counts twice.
        unread = [seen for seen in self._now if name not in seen.layers]
        if name not in self.slots:
            equal = (seen for seen in unread if seen.fits(layer, x) and self._may_join(name, seen.slot))
            joined = next(equal, None)
            self.slots[name] = self._new_slot(layer) if joined is None else joined.slot
        slot = self.slots[name]
        known = next((seen for seen in unread if seen.slot == slot and seen.fits(layer, x)), None)
        if known is not None:
            known.layers.add(name)
            return
        self._now.append(_input(name, layer, x, slot))
        if not self.measure:
            return
        counted = x
        if self.mask is not None and x.shape[: self.mask.dim()] == self.mask.shape:
            counted = x[self.mask]
        try:
            stats = statistics(layer, counted.detach(), self.gram, self.with_sums)
        except ValueError as error:
            raise HarnessError(f"{name} cannot be calibrated: {error}") from error
        stats = stats if self.weight == 1 else scaled(stats, self.weight)
        self.sums[slot] = merge(self.sums[slot], stats) if slot in self.sums else stats

    def end(self) -> None:
        """Finish a forward pass: check that layers with one slot have read the same inputs.

        Raises:
            HarnessError: They have read different inputs, but had read the same ones in the first pass.
        """
        for slot in dict.fromkeys(seen.slot for seen in self._now):
            sharing = [name for name, other in self.slots.items() if other == slot]
            if all(seen.layers == {*sharing} for seen in self._now if seen.slot == slot):
                continue
            if self.measure:
                raise HarnessError(
                    f"{' and '.join(sharing[:2])} no longer have the same input; this pipeline cannot be calibrated, "
                    "choose a method without data (magnitude, random)"
                )
            self.alone.update(sharing)
            for name in sharing[1:]:
                self.slots[name] = len(self.widths)
                self.widths.append(self.widths[slot])

    def _new_slot(self, layer: nn.Module) -> int:
        self.widths.append(_width(layer))
        return len(self.widths) - 1

    def _may_join(self, name: str, slot: int) -> bool:
        """Return whether a new layer may share a slot. The slot must hold nothing from earlier passes."""
        sharing = {other for other, its in self.slots.items() if its == slot}
        return self._passes <= 1 and not self.alone & {name, *sharing}


def _input(name: str, layer: nn.Module, x: Tensor, slot: int) -> _Input:
    version = None if x.is_inference() else x._version
    copy = x.detach().clone() if x.numel() <= SMALL else None
    return _Input(weakref.ref(x), version, copy, _form(layer, x), slot, {name})


def _form(layer: nn.Module, x: Tensor) -> tuple[object, ...]:
    if isinstance(layer, nn.Conv2d):
        kernel = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode
        return (x.shape, *kernel)
    return (x.shape,)


def _width(layer: nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return groups * weight[0].numel() ** 2


@contextmanager
def collecting(
    component: nn.Module,
    layers: str,
    gram: bool,
    measure: bool = True,
    mask: Callable[[Any], Tensor] | None = None,
    alone: Collection[str] = (),
    sums: bool = False,
    kinds: Kinds | None = None,
    only: Collection[str] | None = None,
) -> Iterator[Collector]:
    """Collect the inputs of the component's prunable layers while the body runs the model.

    A weight that several layers hold gets the inputs of all of them. The hooks are removed afterwards, after an
    exception too. Run the model under `torch.no_grad`, not `torch.inference_mode`: inference tensors do not record
    changes in place, so layers never share large ones.

    Args:
        component: The module that the body runs.
        layers: A choice of layers, as for `layers.prunable`.
        gram: Whether Gram matrices are collected.
        measure: False: nothing is summed up; the collector only learns which layers share an input.
        mask: Takes the first argument of the component's forward pass, and returns the tokens that count, bool
            `[n, tokens]`. None: all count.
        alone: Layers that must not share a slot: `Collector.alone` of a run with `measure=False`.
        sums: Whether sums of inputs are collected, beside sums of squares.
        kinds: The kinds of layers of the component's family.
        only: Names of layers; the others are left out. None: all are collected.
    """
    holders = {name: several for name, several in held(component, layers, kinds).items() if not only or name in only}
    shared = {*alone, *(name for name, several in holders.items() if len(several) > 1)}
    collector = Collector(gram, sums, measure=measure, alone=shared)

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        collector.begin()
        if mask is not None:
            collector.mask = mask((*args, *kwargs.values())[0])

    def see(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor):
            raise HarnessError(f"{name} was called without a tensor as its input; it cannot be calibrated")
        collector.see(name, module, given)

    handles = [
        component.register_forward_pre_hook(begin, with_kwargs=True),
        component.register_forward_hook(lambda *_: collector.end()),
    ]
    for name, several in holders.items():
        handles += [layer.register_forward_pre_hook(partial(see, name), with_kwargs=True) for layer in several]
    try:
        yield collector
    finally:
        for handle in handles:
            handle.remove()
        collector.begin()
