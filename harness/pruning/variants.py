"""The variants of cases: which layers end up pruned, at which level, and what their sparsity is a share of."""

from __future__ import annotations

from torch import nn

from harness.case import COUNT, Case
from harness.errors import HarnessError
from harness.surgery.layers import chosen, matrix, prunable
from harness.surgery.masks import Pruning
from harness.targets.target import Target
from pruners.levels import Level, Pattern


def targeted(target: Target, case: Case, component: str) -> dict[str, nn.Module]:
    """Return the layers of a component that are pruned and stay pruned: name → layer.

    Raises:
        HarnessError: There is no such layer.
    """
    module, kinds = target.components[component], target.family.kinds
    layers = prunable(module, case.layers, kinds)
    back = chosen(module, case.given_back, kinds) if case.given_back else {}
    kept = {name: layer for name, layer in layers.items() if name not in back}
    if not kept or (case.given_back and len(kept) == len(layers)):
        what = "all layers get their dense weights back" if not kept else f"no layer is of the kind {case.given_back}"
        raise HarnessError(f"{case.id}: {component}: {what}; choose another variant")
    return kept


def total(target: Target, case: Case, component: str) -> int:
    """Return the number of weights that a component's level is a share of."""
    if case.variant != COUNT:
        return _size(targeted(target, case, component))
    return _size(prunable(target.components[component], case.counted))


def levels_in_layers(target: Target, case: Case) -> dict[str, Level]:
    """Return component → level in the chosen layers, which differs from the case's for the variant "count" only.

    Raises:
        HarnessError: The chosen layers have fewer weights than are to be pruned.
    """
    if case.variant != COUNT:
        return case.plan
    levels: dict[str, Level] = {}
    for component, level in case.plan.items():
        assert not isinstance(level, Pattern)
        chosen_size, all_of_them = _size(targeted(target, case, component)), total(target, case, component)
        levels[component] = level * all_of_them / chosen_size
        if level * all_of_them > chosen_size:
            raise HarnessError(
                f"{case.id}: {component} has {all_of_them:,} weights, and its {case.layers} layers have "
                f"{chosen_size:,}; give a sparsity of at most {chosen_size / all_of_them:.3f}"
            )
    return levels


def with_given_back(target: Target, case: Case, pruning: Pruning) -> Pruning:
    """Return the pruned weights without those of the layers that get their dense weights back."""
    if not case.given_back:
        return pruning
    return {
        component: {name: by_layer[name] for name in targeted(target, case, component)}
        for component, by_layer in pruning.items()
    }


def _size(layers: dict[str, nn.Module]) -> int:
    return sum(matrix(layer).numel() for layer in layers.values())
