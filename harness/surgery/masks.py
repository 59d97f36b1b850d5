"""Put pruned weights into a model, check that they are there, and put the dense ones back: the only writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness import digests
from harness.errors import HarnessError
from harness.surgery.layers import matrix, prunable, weight_of
from pruners.types import Pruned

Pruning = Mapping[str, Mapping[str, Pruned]]


@contextmanager
def masked(components: Mapping[str, nn.Module], pruning: Pruning) -> Iterator[None]:
    """Run the body with the pruned weights in place; afterwards the dense ones are back bit for bit.

    pruning: component → layer → `Pruned`. They come back on an exception too. Raises HarnessError where the weights
    in the model are not what the masks say, and where a restored weight differs from the dense one.
    """
    dense: list[tuple[str, Tensor, Tensor]] = []
    try:
        for component, by_layer in pruning.items():
            layers = dict(components[component].named_modules())
            for name, pruned in by_layer.items():
                weight = weight_of(layers[name])
                dense.append((f"{component}.{name}", weight, weight.detach().clone()))
                with torch.no_grad():
                    weight.copy_(pruned.weight.view_as(weight))
        verify(components, pruning)
        yield
    finally:
        with torch.no_grad():
            for _, weight, kept in dense:
                weight.copy_(kept)
        for name, weight, kept in dense:
            if not torch.equal(weight, kept):
                raise HarnessError(f"the dense weight of {name} did not come back; do not trust this process further")


def verify(components: Mapping[str, nn.Module], pruning: Pruning) -> None:
    """Check in the model itself that nothing survives where `keep` is False and all else is what was asked for."""
    for component, by_layer in pruning.items():
        layers = dict(components[component].named_modules())
        for name, pruned in by_layer.items():
            weight = matrix(layers[name])
            if weight[~pruned.keep].any() or not torch.equal(weight, pruned.weight):
                raise HarnessError(f"{component}.{name} does not hold its pruned weight; the masks were not applied")


def census(components: Mapping[str, nn.Module], layers: str) -> dict[str, dict[str, float | int]]:
    """Count zeros in the model as it is now, per component, pruned or not: a component left pruned by mistake shows.

    Returns parameters (all of the component), targeted (weights of the layers of this kind), zeros (in those layers)
    and the sparsity both ways: of the targeted layers, and of all parameters.
    """
    found = {}
    for component, module in components.items():
        weights = [matrix(layer) for layer in prunable(module, layers).values()]
        total = sum(p.numel() for p in module.parameters())
        targeted = sum(w.numel() for w in weights)
        zeros = sum(int((w == 0).sum()) for w in weights)
        every = sum(int((p == 0).sum()) for p in module.parameters())
        found[component] = {
            "parameters": total,
            "targeted": targeted,
            "zeros": zeros,
            "sparsity_targeted": zeros / targeted,
            "sparsity_component": every / total,
        }
    return found


def sketch(pruning: Pruning, positions: int = 4096) -> str:
    """Return the keep bits at fixed pseudo-random positions of each component, as hexadecimal digits.

    Two masks that differ in a share p of their bits differ in about a share p of the sketch. The same number of
    positions is drawn per component, with replacement, over all of its targeted weights in the model's order.
    """
    bits = []
    for component, by_layer in pruning.items():
        keep = torch.cat([pruned.keep.flatten().cpu() for pruned in by_layer.values()])
        seed = int(digests.of_value([component, len(keep)])[:15], 16)
        bits.append(keep[torch.randint(len(keep), (positions,), generator=torch.Generator().manual_seed(seed))])
    flat = torch.cat(bits).tolist()
    return f"{int(''.join('1' if bit else '0' for bit in flat), 2):0{len(flat) // 4}x}"


def keep_digest(pruning: Pruning) -> str:
    """Return one digest over all keep masks: data-free methods give the same on every machine."""
    return digests.of_tensors(
        (f"{component}.{name}", pruned.keep) for component, by in pruning.items() for name, pruned in by.items()
    )


def weights_digest(pruning: Pruning) -> str:
    """Return one digest over all pruned weights, whatever case asked for them."""
    return digests.of_tensors(
        (f"{component}.{name}", pruned.weight) for component, by in pruning.items() for name, pruned in by.items()
    )
