"""Packages: a component is pruned a part at a time, and calibrated again on the partly pruned model in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from harness.errors import HarnessError
from harness.pruning.calibration import calibrate
from harness.surgery.layers import blocks, matrix
from harness.surgery.masks import masked
from harness.targets.target import Target
from pruners import Method
from pruners.obsdiff import packages
from pruners.types import LayerStats, Pruned

Recalibrate = Callable[[str, frozenset[str], Sequence[str]], Mapping[str, LayerStats]]
"""(component, needed statistics, names of layers) → layer → statistics of the model as it is now."""


def recalibration(
    target: Target,
    captions: Sequence[str],
    padding: str = "counted",
    batch_size: int = 16,
    progress: Callable[[str], None] = lambda _: None,
) -> Recalibrate:
    """Return the function that calibrates some layers of the model as it is now.

    Args:
        target: The pipeline. Another component than the one that is calibrated is dense.
        captions: The captions of the first calibration.
        padding: As for `calibrate`.
        batch_size: Captions at once.
        progress: Called with a short line about the current work.
    """

    def recalibrate(component: str, needs: frozenset[str], names: Sequence[str]) -> Mapping[str, LayerStats]:
        return calibrate(
            target, [component], "all", captions, "gram" in needs, padding, batch_size, progress,
            sums="sums" in needs, by_steps="steps" in needs, only={component: names},
        ).components[component]  # fmt: skip

    return recalibrate


def in_packages(
    target: Target,
    component: str,
    method: Method,
    layers: Mapping[str, nn.Module],
    known: Mapping[str, LayerStats],
    prune: Callable[[Mapping[str, nn.Module], Mapping[str, LayerStats]], dict[str, Pruned]],
    recalibrate: Recalibrate | None,
) -> dict[str, Pruned]:
    """Prune the layers of a component in packages of blocks, in the order in which they run.

    Args:
        target: The dense pipeline. It is pruned in between, and dense again afterwards.
        component: The component's name.
        method: The method, which says how many packages there are.
        layers: Layer → module, in the model's order.
        known: Layer → statistics of the dense model, in the order in which the layers run.
        prune: Takes some layers and their statistics, and prunes them.
        recalibrate: Calibrates again before every package but the first.

    Returns:
        Layer → `Pruned`, in the model's order.

    Raises:
        HarnessError: `recalibrate` is None, or a layer is refused.
    """
    done: dict[str, Pruned] = {}
    for names in _order(target, component, layers, known, method.packages):
        if done:
            if recalibrate is None:
                raise HarnessError(
                    f"{method.name} calibrates {component} again between packages of layers; give `recalibrate`"
                )
            with masked(target.components, {component: done}):
                known = recalibrate(component, method.needs, names)
        done |= prune({name: layers[name] for name in names}, known)
    return {name: done[name] for name in layers}


def _order(
    target: Target, component: str, layers: Mapping[str, nn.Module], known: Mapping[str, LayerStats], parts: int
) -> Iterator[list[str]]:
    """Yield the layers of every package, in the order in which they run where that is known."""
    order = [name for name in known if name in layers] or [*layers]
    members = blocks(target.components[component], order, target.family.blocks)
    sizes = {block: sum(matrix(layers[name]).numel() for name in names) for block, names in members.items()}
    for package in packages(sizes, parts):
        yield [name for block in package for name in members[block]]
