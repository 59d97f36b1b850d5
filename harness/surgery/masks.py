"""The only code that writes to a model: puts pruned weights in, checks them, and restores the dense ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness import digests
from harness.errors import HarnessError
from harness.surgery.layers import matrix, weight_of
from pruners.types import Pruned

Pruning = Mapping[str, Mapping[str, Pruned]]
"""Component → layer → its pruned weight."""


class Switch:
    """Puts the pruned or the dense weights in while a body of `masked` runs."""

    def __init__(self, pruning: Pruning, dense: Sequence[tuple[str, Tensor, Tensor]]) -> None:
        """`masked` builds this.

        Args:
            pruning: The pruned weights.
            dense: Name, parameter and dense values of every weight, in the order of `pruning`.
        """
        self._pruning, self._dense, self._is_pruned = pruning, dense, False

    @torch.no_grad()
    def pruned(self, on: bool) -> None:
        """Put the pruned weights in, or the dense ones. Nothing happens where they are in already."""
        if on == self._is_pruned:
            return
        if on:
            for pruned, (_, weight, _) in zip(_weights(self._pruning), self._dense, strict=True):
                weight.copy_(pruned.weight.view_as(weight))
        else:
            for _, weight, kept in reversed(self._dense):
                weight.copy_(kept)
        self._is_pruned = on

    def release(self) -> None:
        """Forget the pruned weights, which stay in the model until the body ends. They cannot be put in again."""
        self._pruning = {}

    def in_half(self, half: str, steps: int) -> Callable[[int], None]:
        """Return a function that takes the number of the coming denoising step, from 0, and puts its weights in.

        Args:
            half: "early": the pruned weights are in for the first half of the steps, and the middle one of an odd
                number. "late": for the others.
            steps: Number of denoising steps.
        """
        return lambda step: self.pruned((2 * step < steps) == (half == "early"))


@contextmanager
def masked(components: Mapping[str, nn.Module], pruning: Pruning) -> Iterator[Switch]:
    """Run the body with the pruned weights in place. Afterwards the dense weights are restored bit for bit.

    They are restored after an exception too. The body gets a switch between pruned and dense weights.

    Args:
        components: Name → module.
        pruning: The pruned weights to put in.

    Raises:
        HarnessError: The model does not hold the pruned weights, or a restored weight is not the dense one.
    """
    dense = _copies(components, pruning)
    switch = Switch(pruning, dense)
    try:
        switch.pruned(True)
        verify(components, pruning)
        del pruning
        yield switch
    finally:
        with torch.no_grad():
            for _, weight, kept in reversed(dense):
                weight.copy_(kept)
        for name, weight, kept in dense:
            if not torch.equal(weight, kept):
                raise HarnessError(f"{name} was not restored to its dense weight; end this process and run again")


def _copies(components: Mapping[str, nn.Module], pruning: Pruning) -> list[tuple[str, Tensor, Tensor]]:
    """Return name, parameter and a copy of the dense values of every weight that is pruned."""
    dense: list[tuple[str, Tensor, Tensor]] = []
    for component, by_layer in pruning.items():
        layers = dict(components[component].named_modules())
        for name in by_layer:
            weight = weight_of(layers[name])
            # Copy all weights before any is changed: two of them may share memory.
            dense.append((f"{component}.{name}", weight, weight.detach().clone()))
    return dense


def _weights(pruning: Pruning) -> Iterator[Pruned]:
    for by_layer in pruning.values():
        yield from by_layer.values()


def verify(components: Mapping[str, nn.Module], pruning: Pruning) -> None:
    """Check that the model holds the pruned weights, with zeros where `keep` is False.

    Raises:
        HarnessError: A layer holds another weight.
    """
    for component, by_layer in pruning.items():
        layers = dict(components[component].named_modules())
        for name, pruned in by_layer.items():
            weight = matrix(layers[name])
            if weight.masked_fill(pruned.keep, 0).any() or not torch.equal(weight, pruned.weight):
                raise HarnessError(
                    f"{component}.{name} does not hold its pruned weight: the masks were not applied, or another layer "
                    f"uses a part of the same memory; report the model, or leave {component} out"
                )


def sketch(pruning: Pruning, positions: int = 4096) -> str:
    """Return the keep bits at fixed pseudo-random positions of each component.

    Two masks that differ in a share p of their bits differ in about a share p of the sketch.

    Args:
        pruning: The masks.
        positions: Number of positions per component, drawn with replacement over its weights in the model's order.

    Returns:
        Hexadecimal digits, a quarter of `positions` per component.
    """
    bits = []
    for component, by_layer in pruning.items():
        keep = torch.cat([pruned.keep.flatten().cpu() for pruned in by_layer.values()])
        seed = int(digests.of_value([component, len(keep)])[:15], 16)
        bits.append(keep[torch.randint(len(keep), (positions,), generator=torch.Generator().manual_seed(seed))])
    flat = torch.cat(bits).tolist()
    return f"{int(''.join('1' if bit else '0' for bit in flat), 2):0{len(flat) // 4}x}"


def keep_digest(pruning: Pruning) -> str:
    """Return one digest of all keep masks. Methods without data give the same digest on every machine."""
    return digests.of_tensors(
        (f"{component}.{name}", pruned.keep) for component, by in pruning.items() for name, pruned in by.items()
    )


def weights_digest(pruning: Pruning, half: str = "") -> str:
    """Return one digest of all pruned weights. It does not depend on the case.

    Args:
        pruning: The masks.
        half: The half of the denoising steps in which the pruned weights are in; "" for all steps.
    """
    weights = digests.of_tensors(
        (f"{component}.{name}", pruned.weight) for component, by in pruning.items() for name, pruned in by.items()
    )
    return f"{weights}.{half}" if half else weights
