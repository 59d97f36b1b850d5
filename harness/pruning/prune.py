"""From a case to pruned weights: divide the sparsity among the layers, then prune each. The model is not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from harness import digests
from harness.case import Case
from harness.errors import HarnessError, unknown
from harness.pruning.packages import Recalibrate, in_packages
from harness.pruning.variants import levels_in_layers, targeted, total, with_given_back
from harness.surgery.layers import blocks, matrix, prunable
from harness.surgery.masks import Pruning
from harness.targets.target import Target
from pruners import METHODS, Method
from pruners.allocate import ALLOCATIONS
from pruners.levels import Level, Pattern
from pruners.types import LayerFacts, LayerRefused, LayerStats, Pruned

Statistics = Mapping[str, Mapping[str, LayerStats]]
"""Component → layer → statistics of the layer's inputs."""


def prune(
    target: Target, case: Case, statistics: Statistics | None = None, recalibrate: Recalibrate | None = None
) -> Pruning:
    """Prune every component of a case at its level.

    Args:
        target: The dense pipeline. It is not changed.
        case: The case.
        statistics: The statistics that the case's methods read; None if they read none.
        recalibrate: Calibrates again, for methods that prune in packages.

    Returns:
        Component → layer → `Pruned`.

    Raises:
        HarnessError: A method refuses a layer. The message names both.
    """
    pruning = {
        component: prune_component(
            target, component, case.methods[component], case.layers, [level], statistics, recalibrate
        )[0]
        for component, level in levels_in_layers(target, case).items()
    }
    return with_given_back(target, case, pruning)


def prune_component(
    target: Target,
    component: str,
    method: str,
    layers: str,
    levels: Sequence[Level],
    statistics: Statistics | None,
    recalibrate: Recalibrate | None = None,
) -> list[dict[str, Pruned]]:
    """Prune one component at several levels. Each layer is pruned at all levels in one call.

    Args:
        target: The dense pipeline. It is not changed.
        component: A name of `target.components`.
        method: A name of `METHODS`.
        layers: A choice of layers, a name of `harness.case.LAYERS`.
        levels: Sparsities and patterns.
        statistics: The statistics that the method reads; None if it reads none.
        recalibrate: Calibrates again, for methods that prune in packages.

    Returns:
        Layer → `Pruned`, per level.

    Raises:
        HarnessError: The method refuses a layer, or does not return one `Pruned` per level. The message names both.
    """
    entry, module = METHODS[method], target.components[component]
    chosen = prunable(module, layers, target.family.kinds)
    known = _known(entry, component, chosen, statistics)
    facts = _facts(module, chosen, known, target.family.blocks)
    spreads = [allocate(entry, component, facts, level) for level in levels]
    if entry.packages == 1:
        return _layers(entry, component, chosen, known, spreads)

    def one(spread: Mapping[str, Level]) -> dict[str, Pruned]:
        def some(layers: Mapping[str, nn.Module], seen: Mapping[str, LayerStats]) -> dict[str, Pruned]:
            return _layers(entry, component, layers, seen, [spread])[0]

        return in_packages(target, component, entry, chosen, known, some, recalibrate)

    return [one(spread) for spread in spreads]


def _layers(
    entry: Method,
    component: str,
    layers: Mapping[str, nn.Module],
    known: Mapping[str, LayerStats],
    spreads: Sequence[Mapping[str, Level]],
) -> list[dict[str, Pruned]]:
    """Prune some layers at several levels. spreads: layer → level, per level."""
    pruner, method = entry.pruner(), entry.name
    by_level: list[dict[str, Pruned]] = [{} for _ in spreads]
    for name, layer in layers.items():
        seed = int(digests.of_value([component, name])[:15], 16)
        weight = matrix(layer)
        try:
            pruned = pruner(weight, known.get(name), [spread[name] for spread in spreads], seed)
        except ValueError as error:
            raise HarnessError(f"{method} cannot prune {component}.{name}: {error}") from error
        if len(pruned) != len(spreads) or not all(_fits(one, weight) for one in pruned):
            raise HarnessError(
                f"{method} returned a wrong result for {component}.{name}; correct the pruner. It must return one "
                f"`Pruned` per level, with a bool keep mask and a weight, both {tuple(weight.shape)}, the weight in "
                f"{weight.dtype}"
            )
        for place, one in zip(by_level, pruned, strict=True):
            place[name] = one
    return by_level


def _fits(pruned: Pruned, weight: torch.Tensor) -> bool:
    shapes = pruned.keep.shape == pruned.weight.shape == weight.shape
    return shapes and pruned.keep.dtype == torch.bool and pruned.weight.dtype == weight.dtype


def _known(
    method: Method, component: str, layers: Mapping[str, nn.Module], statistics: Statistics | None
) -> Mapping[str, LayerStats]:
    """Return the statistics of a component's layers; empty for a method that reads none.

    Raises:
        HarnessError: The component has statistics, but one of the layers has none.
    """
    known = (statistics or {}).get(component, {}) if method.needs else {}
    missing = next((name for name in layers if known and name not in known), None)
    if missing:
        raise HarnessError(
            f"{method.name} cannot prune {component}.{missing}: calibration never ran this layer; choose a method "
            "without data (magnitude, random), or --layers linear where that leaves the layer out"
        )
    return known


def _facts(
    module: nn.Module, layers: Mapping[str, nn.Module], known: Mapping[str, LayerStats], kinds: Sequence[str]
) -> dict[str, LayerFacts]:
    block = {name: parent for parent, names in blocks(module, layers, kinds).items() for name in names}
    return {name: LayerFacts(matrix(layer), known.get(name), block[name]) for name, layer in layers.items()}


def allocate(method: Method, component: str, facts: Mapping[str, LayerFacts], level: Level) -> Mapping[str, Level]:
    """Divide one level among the layers of a component.

    Args:
        method: The method, which names the allocation.
        component: The component's name, for messages.
        facts: Layer → facts that the allocation may read.
        level: The level. A pattern is the same for every layer.

    Returns:
        Layer → level.

    Raises:
        HarnessError: The allocation does not exist, or refuses a layer.
    """
    if isinstance(level, Pattern):
        return dict.fromkeys(facts, level)
    if method.allocation not in ALLOCATIONS:
        raise unknown(f"allocation of the method {method.name}", method.allocation, ALLOCATIONS)
    try:
        spread = ALLOCATIONS[method.allocation](facts, level)
    except LayerRefused as error:
        raise HarnessError(f"{method.name} cannot prune {component}.{error.layer}: {error.reason}") from error
    except ValueError as error:
        raise HarnessError(f"{method.name} cannot prune {component}: {error}") from error
    if spread.keys() != facts.keys():
        raise HarnessError(f"the allocation {method.allocation} does not return one sparsity per layer; correct it")
    return spread


def check_pattern(target: Target, case: Case) -> None:
    """Check before any calibration that the N:M patterns of a case divide every layer.

    Raises:
        HarnessError: A pattern does not divide a layer. The message names the first one.
    """
    for component, level in case.plan.items():
        if not isinstance(level, Pattern):
            continue
        for name, layer in targeted(target, case, component).items():
            size = matrix(layer).shape[1]
            if size % level.of:
                advice = "choose another pattern" + ("" if case.layers == "linear" else ", or --layers linear")
                raise HarnessError(
                    f"the pattern {level} does not divide {component}.{name}, which has {size} inputs per output; "
                    f"{advice}"
                )


def rounding(target: Target, case: Case) -> dict[str, float]:
    """Return how far each component's sparsity may be from the request, because groups prune whole weights.

    Returns:
        Component → share of its targeted weights; 0 for a pattern, which has no remainder.
    """
    missed = {}
    for component, level in case.plan.items():
        if isinstance(level, Pattern):
            missed[component] = 0.0
            continue
        kind = METHODS[case.methods[component]].group
        groups = 0
        for layer in targeted(target, case, component).values():
            rows, inputs = matrix(layer).shape
            # A grouped convolution has the blocks of every group of channels.
            blocks_of = getattr(layer, "groups", 1) * -(-inputs // 128)
            groups += {"layer": 1, "row": rows, "block": blocks_of}[kind]
        missed[component] = 0.5 * groups / total(target, case, component)
    return missed
