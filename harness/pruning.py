"""From a case to pruned weights: spread the sparsity over the layers, then prune each; the model is not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

import pruners
from harness import digests
from harness.case import DENSE, Case
from harness.errors import HarnessError
from harness.surgery.layers import blocks, matrix, prunable
from harness.surgery.masks import Pruning
from harness.targets.base import Target
from pruners import METHODS, PRUNERS, module_of
from pruners.allocate import by_global_threshold, outliers, owl
from pruners.levels import Level, Pattern
from pruners.types import LayerStats, Pruned
from pruners.wanda import scores

Statistics = Mapping[str, Mapping[str, LayerStats]]


def needs(method: str) -> str | None:
    """Return what of the calibration a method needs: None, "squares" or "gram"; a dense case needs nothing."""
    return None if method == DENSE else pruners.needs(method)


def calibrated(case: Case) -> list[str]:
    """Return the components of a case whose methods need a calibration."""
    return [component for component, method in case.methods.items() if needs(method)]


def prune(target: Target, case: Case, statistics: Statistics | None = None) -> Pruning:
    """Return component → layer → `Pruned` for a case; the target is not changed.

    statistics: component → layer → what calibration found, for the methods that need it. Raises HarnessError that
    names the layer where a method refuses it.
    """
    return {
        component: prune_component(target, component, case.methods[component], case.layers, [level], statistics)[0]
        for component, level in case.plan.items()
    }


def prune_component(
    target: Target, component: str, method: str, kind: str, levels: Sequence[Level], statistics: Statistics | None
) -> list[dict[str, Pruned]]:
    """Return layer → `Pruned` for every level; a layer is pruned at all of them in one go. See `prune`."""
    layers = prunable(target.components[component], kind)
    stats = statistics[component] if statistics and needs(method) else {}
    spreads = [allocate(target.components[component], component, layers, method, level, stats) for level in levels]
    pruner = getattr(module_of(method), PRUNERS[METHODS[method][1]].split(":")[1])
    found: list[dict[str, Pruned]] = [{} for _ in levels]
    for name, layer in layers.items():
        seed = int(digests.of_value([component, name])[:15], 16)
        try:
            pruned = pruner(matrix(layer), stats.get(name), [spread[name] for spread in spreads], seed)
        except ValueError as error:
            raise HarnessError(f"{method} cannot prune {component}.{name}: {error}") from error
        for place, one in zip(found, pruned, strict=True):
            place[name] = one
    return found


def check_pattern(target: Target, case: Case) -> None:
    """Raise HarnessError that names the first layer which an N:M pattern does not divide; before any calibration."""
    for component, level in case.plan.items():
        for name, layer in prunable(target.components[component], case.layers).items():
            size = matrix(layer).shape[1]
            if isinstance(level, Pattern) and size % level.of:
                raise HarnessError(
                    f"the pattern {level} does not divide {component}.{name}, which has {size} inputs per output; "
                    "choose another pattern, or --layers linear"
                )


def allocate(
    module: nn.Module,
    component: str,
    layers: Mapping[str, nn.Module],
    method: str,
    level: Level,
    stats: Mapping[str, LayerStats],
) -> dict[str, Level]:
    """Return the level of every layer of one component. Raises HarnessError where statistics are missing."""
    kind, _ = METHODS[method]
    if kind == "uniform" or isinstance(level, Pattern):
        return dict.fromkeys(layers, level)
    try:
        if kind == "global":
            return dict(by_global_threshold({name: matrix(layer).abs() for name, layer in layers.items()}, level))
        shares, sizes = {}, {}
        spread: dict[str, Level] = {}
        members = blocks(module, layers)
        for block, names in members.items():
            if any(name not in stats for name in names):
                raise HarnessError(f"{method} needs statistics of {component}.{names[0]}: calibrate first")
            shares[block] = outliers(
                [scores(matrix(layers[name]), stats[name]) / stats[name].rows ** 0.5 for name in names]
            )
            sizes[block] = sum(matrix(layers[name]).numel() for name in names)
        for block, sparsity in owl(shares, sizes, level).items():
            spread |= dict.fromkeys(members[block], sparsity)
        return {name: spread[name] for name in layers}
    except ValueError as error:
        raise HarnessError(f"{method} cannot prune {component}: {error}") from error


def rounding(target: Target, case: Case) -> dict[str, float]:
    """Return by how much each component's sparsity may miss the request because groups hold whole weights."""
    found = {}
    for component, level in case.plan.items():
        weights = [matrix(layer) for layer in prunable(target.components[component], case.layers).values()]
        kind = module_of(case.methods[component]).GROUP
        if isinstance(level, Pattern):
            found[component] = 0.0
            continue
        groups = [{"layer": 1, "row": w.shape[0], "block": -(-w.shape[1] // 128)}[kind] for w in weights]
        found[component] = 0.5 * sum(groups) / sum(w.numel() for w in weights)
    return found
