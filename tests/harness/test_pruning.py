"""From a case to pruned weights on the real model: every method reaches its sparsity, alone and with other levels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.case import Case
from harness.engine import Engine
from harness.errors import HarnessError
from harness.pipeline import _pruned
from harness.pruning import allocate, prune, prune_component, rounding
from harness.surgery.layers import blocks, matrix, prunable
from harness.surgery.masks import sketch
from pruners import METHODS
from pruners.levels import Pattern


@pytest.mark.parametrize("layers", ["all", "linear"])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_reaches_the_sparsity_asked_for(engine: Engine, method: str, layers: str) -> None:
    case = Case("scenes", "text_encoder", method, layers, (0.37,))
    pruned = prune(engine.target, case, engine.statistics(case))["text_encoder"]
    weights = {
        name: matrix(layer) for name, layer in prunable(engine.target.components["text_encoder"], layers).items()
    }
    assert pruned.keys() == weights.keys()
    total = sum(w.numel() for w in weights.values())
    zeros = sum(int((~p.keep).sum()) for p in pruned.values())
    assert abs(zeros / total - 0.37) <= rounding(engine.target, case)["text_encoder"] + 1e-4
    changed = any(not torch.equal(pruned[n].weight[pruned[n].keep], w[pruned[n].keep]) for n, w in weights.items())
    assert changed == ("sparsegpt" in method)


def test_levels_pruned_in_advance_are_those_pruned_alone(engine: Engine) -> None:
    cases = [Case("scenes", "text_encoder", "sparsegpt", "all", (level,)) for level in (0.3, 0.6, Pattern(2, 4))]
    statistics = engine.statistics(cases[0])
    engine.planned, engine.pruned = cases, {}
    try:
        found = [_pruned(case, engine, statistics)[0] for case in cases]
        assert len(engine.pruned["text_encoder", "sparsegpt", "all"]) == 3
    finally:
        engine.planned, engine.pruned = (), {}
    for case, together in zip(cases, found, strict=True):
        alone = prune(engine.target, case, statistics)
        first, second = sketch(together), sketch(alone)
        assert (int(first, 16) ^ int(second, 16)).bit_count() <= 0.001 * 4 * len(first)


def test_a_component_is_pruned_by_its_own_method_and_calibrated_only_where_that_wants_it() -> None:
    engine = Engine("scenes", "cpu", 4, 4)
    engine.planned = mixed = [
        Case("scenes", "both", "owl_wanda+magnitude", "all", (0.5, 0.3)),
        Case("scenes", "both", "sparsegpt+random", "all", (0.5, 0.3)),
    ]
    for case in mixed:
        statistics = engine.statistics(case)
        assert statistics and [*statistics] == ["text_encoder"]
        found = _pruned(case, engine, statistics)[0]
        assert found.keys() == case.methods.keys()
        for component, method in case.methods.items():
            alone = Case("scenes", component, method, "all", (case.requested[component],))
            assert sketch({component: found[component]}) == sketch(prune(engine.target, alone, statistics))
    assert engine.pruned.keys() == {("text_encoder", "sparsegpt", "all")}
    assert rounding(engine.target, mixed[0]).keys() == {"text_encoder", "unet"}


def test_no_more_levels_are_pruned_in_advance_than_there_is_room_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [Case("scenes", "text_encoder", "sparsegpt", "all", (level,)) for level in (0.3, 0.5, 0.6)]
    statistics = engine.statistics(cases[0])
    size = sum(
        5 * matrix(layer).numel() for layer in prunable(engine.target.components["text_encoder"], "all").values()
    )
    monkeypatch.setattr("harness.pipeline.AHEAD", 2 * size)
    engine.planned, engine.pruned = cases, {}
    kept = []
    try:
        for case in cases:
            _pruned(case, engine, statistics)
            kept.append(list(engine.pruned["text_encoder", "sparsegpt", "all"]))
    finally:
        engine.planned, engine.pruned = (), {}
    assert kept == [[0.3, 0.5], [0.3, 0.5], [0.6]]


def test_blocks_hold_every_layer_once() -> None:
    class ResnetBlock2D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    model = nn.ModuleDict({"first": ResnetBlock2D(), "second": ResnetBlock2D(), "out": nn.Linear(2, 2)})
    found = blocks(model, prunable(model, "all"))
    assert found == {
        "first": ["first.conv1", "first.conv2"],
        "second": ["second.conv1", "second.conv2"],
        "out": ["out"],
    }


def test_owl_gives_blocks_their_own_sparsity_and_keeps_the_total(engine: Engine) -> None:
    module = engine.target.components["unet"]
    layers = prunable(module, "all")
    statistics = engine.statistics(Case("scenes", "unet", "owl_wanda", "all", (0.5,)))
    assert statistics is not None
    spread = allocate(module, "unet", layers, "owl_wanda", 0.5, statistics["unet"])
    values = {float(s) for s in spread.values() if isinstance(s, float)}
    assert len(values) > 5 and max(values) - min(values) == pytest.approx(0.16)
    sizes = {name: matrix(layer).numel() for name, layer in layers.items()}
    total = sum(float(spread[n]) * sizes[n] for n in sizes) / sum(sizes.values())  # type: ignore[arg-type]
    assert total == pytest.approx(0.5, abs=1e-6)


def test_missing_statistics_are_an_error_that_names_the_layer(engine: Engine) -> None:
    for method in ("wanda", "sparsegpt", "owl_magnitude"):
        with pytest.raises(HarnessError, match=r"text_encoder\.encoder\.layers\.0.*calibrate first"):
            prune_component(engine.target, "text_encoder", method, "all", [0.5], None)
