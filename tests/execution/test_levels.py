"""Levels that are pruned ahead, and the calibration that planned cases share: neither changes the result of a case."""

from __future__ import annotations

import pytest
from torch import nn

from harness.case import Case
from harness.execution import levels as module
from harness.execution.bench import Workbench
from harness.execution.levels import Levels
from harness.execution.statistics import Calibrations
from harness.pruning.prune import prune, rounding
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import sketch
from pruners.levels import Pattern

TEXT = "text_encoder"


def told(text: str) -> None:
    pass


def component(bench: Workbench) -> nn.Module:
    return bench.target.components[TEXT]


def test_levels_pruned_ahead_are_those_pruned_alone(bench: Workbench) -> None:
    cases = [Case("scenes", TEXT, "sparsegpt", "all", (level,)) for level in (0.3, 0.6, Pattern(2, 4))]
    statistics = Calibrations(bench, cases).of(cases[0], told)
    levels = Levels(bench, cases)
    ahead = [levels.prune(case, statistics) for case in cases]
    assert [together for _, together in ahead] == [3, 1, 1]
    for case, (together, _) in zip(cases, ahead, strict=True):
        alone = prune(bench.target, case, statistics)
        first, second = sketch(together), sketch(alone)
        assert (int(first, 16) ^ int(second, 16)).bit_count() <= 0.001 * 4 * len(first)


def test_a_component_is_pruned_by_its_own_method_and_calibrated_only_where_that_wants_it(bench: Workbench) -> None:
    mixed = [
        Case("scenes", "both", "owl_wanda+magnitude", "all", (0.5, 0.3)),
        Case("scenes", "both", "sparsegpt+random", "all", (0.5, 0.3)),
    ]
    calibrations, levels = Calibrations(bench, mixed), Levels(bench, mixed)
    for case in mixed:
        statistics = calibrations.of(case, told)
        assert statistics and [*statistics] == [TEXT]
        pruning, _ = levels.prune(case, statistics)
        assert pruning.keys() == case.methods.keys()
        for name, method in case.methods.items():
            alone = Case("scenes", name, method, "all", (case.requested[name],))
            assert sketch({name: pruning[name]}) == sketch(prune(bench.target, alone, statistics))
    assert rounding(bench.target, mixed[0]).keys() == {TEXT, "unet"}


def test_no_more_levels_are_pruned_ahead_than_there_is_room_for(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [Case("scenes", TEXT, "sparsegpt", "all", (level,)) for level in (0.3, 0.5, 0.6)]
    statistics = Calibrations(bench, cases).of(cases[0], told)
    size = sum(5 * matrix(layer).numel() for layer in prunable(component(bench), "all").values())
    monkeypatch.setattr(module, "AHEAD", 2 * size)
    levels = Levels(bench, cases)
    assert [levels.prune(case, statistics)[1] for case in cases] == [2, 1, 1]


def test_a_case_without_data_is_not_calibrated(bench: Workbench) -> None:
    cases = [Case("scenes", TEXT, "magnitude", "all", (0.3,)), Case("scenes")]
    assert [Calibrations(bench, cases).of(case, told) for case in cases] == [None, None]
