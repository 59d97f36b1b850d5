"""A cache of pruned levels.

Some methods prune all levels of a layer at once. The levels of planned cases are then made together with the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from harness.case import Case
from harness.execution.bench import Workbench
from harness.execution.statistics import BATCH
from harness.pruning.packages import Recalibrate, recalibration
from harness.pruning.prune import Statistics, prune_component
from harness.pruning.variants import levels_in_layers, with_given_back
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import Pruning
from pruners import METHODS
from pruners.levels import Level
from pruners.types import Pruned

# Bytes of pruned weights and masks that may be made ahead. A level of Stable Diffusion 2 takes 2.6 GB in float16.
AHEAD = 6 * 10**9

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Solved:
    """The pruned weights of a case, made in this process or in another."""

    pruning: Pruning
    """Component → layer → its pruned weight."""
    seconds: float
    """Wall time of pruning. Levels that are pruned together share it equally."""


class Levels:
    """A cache. Its content changes speed, never results."""

    def __init__(self, bench: Workbench, planned: Sequence[Case]) -> None:
        """Start empty. planned: the coming cases, in order."""
        self._bench, self._planned = bench, planned
        self._known: dict[Key, dict[Level, dict[str, Pruned]]] = {}

    def prune(self, case: Case, statistics: Statistics | None) -> tuple[Pruning, int]:
        """Return the pruned weights of a case, on the device, and how many levels were pruned together with its own.

        Args:
            case: The case.
            statistics: The statistics that its methods read, see `Calibrations.of`.

        Raises:
            HarnessError: A method refuses a layer; the message names both.
        """
        pruning, together = {}, 1
        for component, level in levels_in_layers(self._bench.target, case).items():
            key = component, case.methods[component], case.layers
            if not METHODS[key[1]].batches_levels:
                again = self._recalibrate() if METHODS[key[1]].packages > 1 else None
                pruning[component] = prune_component(self._bench.target, *key, [level], statistics, again)[0]
                continue
            if level not in self._known.get(key, {}):
                levels = self._ahead(case, key, level)
                together = max(together, len(levels))
                # Keep two keys at most: cases come sorted by component, and "both" has two components.
                self._known = dict([*self._known.items()][-1:])
                made = prune_component(self._bench.target, *key, levels, statistics)
                self._known[key] = {name: _on(layers, "cpu") for name, layers in zip(levels, made, strict=True)}
                del made
            pruning[component] = _on(self._known[key][level], self._bench.device)
        return with_given_back(self._bench.target, case, pruning), together

    def _recalibrate(self) -> Recalibrate:
        bench = self._bench
        return recalibration(bench.target, bench.calibration(), batch_size=min(BATCH, bench.setup.batch_size))

    def _ahead(self, case: Case, key: Key, level: Level) -> list[Level]:
        """Return the case's level and the levels of later planned cases, as many as fit into `AHEAD` bytes."""
        component, method, layers = key
        behind = self._planned[self._planned.index(case) :] if case in self._planned else []
        alike = [c for c in behind if c.methods.get(component) == method and c.layers == layers]
        target = self._bench.target
        levels = list(dict.fromkeys([level, *(levels_in_layers(target, c)[component] for c in alike)]))
        chosen = prunable(target.components[component], layers, target.family.kinds)
        weights = [matrix(layer) for layer in chosen.values()]
        size = sum(weight.numel() * (weight.element_size() + 1) for weight in weights)
        return levels[: max(1, AHEAD // size)]


def on_device(pruning: Pruning, device: torch.device) -> Pruning:
    """Return pruned weights on a device. Those that are there stay the same tensors."""
    return {component: _on(layers, device) for component, layers in pruning.items()}


def _on(layers: Mapping[str, Pruned], device: torch.device | str) -> dict[str, Pruned]:
    return {name: Pruned(one.keep.to(device), one.weight.to(device)) for name, one in layers.items()}
