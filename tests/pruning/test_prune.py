"""From a case to pruned weights on the embedded model: every method reaches its sparsity and names what stops it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness.case import Case
from harness.errors import HarnessError
from harness.pruning.calibration import Calibration, calibrate
from harness.pruning.packages import Recalibrate
from harness.pruning.prune import check_pattern, prune, prune_component, rounding
from harness.surgery.layers import blocks, matrix, prunable
from harness.surgery.masks import sketch
from harness.targets.target import Target, wrap
from pruners import METHODS, Method, magnitude
from pruners.allocate import ALLOCATIONS
from pruners.levels import Level, Pattern
from pruners.types import LayerFacts, LayerStats, Pruned
from tests.pipelines import seeded

TEXT = "text_encoder"
FIRST = "encoder.layers.0.self_attn.k_proj"


@contextmanager
def added(method: Method) -> Iterator[None]:
    """Have one more method inside."""
    METHODS[method.name] = method
    try:
        yield
    finally:
        del METHODS[method.name]


def weights(target: Target, component: str, layers: str = "all") -> dict[str, Tensor]:
    return {name: matrix(layer) for name, layer in prunable(target.components[component], layers).items()}


@pytest.mark.parametrize("layers", ["all", "linear"])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_reaches_the_sparsity_asked_for(
    target: Target, calibration: Calibration, recalibrate: Recalibrate, method: str, layers: str
) -> None:
    case = Case("scenes", TEXT, method, layers, (0.37,))
    dense = weights(target, TEXT, layers)
    pruned = prune(target, case, calibration.components, recalibrate)[TEXT]
    assert [*pruned] == [*dense]
    zeros = sum(int((~p.keep).sum()) for p in pruned.values())
    assert abs(zeros / sum(w.numel() for w in dense.values()) - 0.37) <= rounding(target, case)[TEXT] + 1e-9
    changed = any(not torch.equal(pruned[n].weight[pruned[n].keep], w[pruned[n].keep]) for n, w in dense.items())
    assert changed == METHODS[method].moves_weights


def test_both_components_are_pruned_by_their_own_methods(target: Target, calibration: Calibration) -> None:
    case = Case("scenes", "both", "owl_wanda+magnitude", "all", (0.5, 0.3))
    pruning = prune(target, case, calibration.components)
    assert [*pruning] == [TEXT, "unet"]
    for component, method in case.methods.items():
        alone = Case("scenes", component, method, "all", (case.requested[component],))
        own = prune(target, alone, calibration.components)
        assert sketch({component: pruning[component]}) == sketch(own)


def test_levels_in_one_call_equal_levels_alone(target: Target, calibration: Calibration) -> None:
    levels: list[Level] = [0.3, 0.6, Pattern(2, 4)]
    for method in ("wanda", "sparsegpt"):
        together = prune_component(target, TEXT, method, "all", levels, calibration.components)
        for level, by_layer in zip(levels, together, strict=True):
            alone = prune(target, Case("scenes", TEXT, method, "all", (level,)), calibration.components)
            first, second = sketch({TEXT: by_layer}), sketch(alone)
            assert (int(first, 16) ^ int(second, 16)).bit_count() <= 0.001 * 4 * len(first)


def test_random_draws_again_for_every_layer_and_the_same_every_time(target: Target) -> None:
    case = Case("scenes", TEXT, "random", "all", (0.5,))
    pruned, again = (prune(target, case)[TEXT] for _ in range(2))
    one, other = (pruned[f"encoder.layers.0.self_attn.{name}_proj"].keep for name in "qk")
    assert one.shape == other.shape and not torch.equal(one, other)
    assert all(torch.equal(pruned[name].keep, again[name].keep) for name in pruned)


def test_owl_gives_blocks_their_own_sparsity_and_keeps_the_total(target: Target, calibration: Calibration) -> None:
    pruned = prune(target, Case("scenes", "unet", "owl_magnitude", "all", (0.5,)), calibration.components)["unet"]
    members = blocks(target.components["unet"], pruned, target.family.blocks)
    spread = {}
    for block, names in members.items():
        shares = [1 - float(pruned[name].keep.double().mean()) for name in names]
        sizes = [pruned[name].keep.numel() for name in names]
        assert max(shares) - min(shares) <= 1 / min(sizes), block
        spread[block] = sum(s * n for s, n in zip(shares, sizes, strict=True)) / sum(sizes)
    assert len({round(s, 2) for s in spread.values()}) > 5
    assert max(spread.values()) - min(spread.values()) == pytest.approx(0.16, abs=2e-3)
    total = sum(int((~p.keep).sum()) for p in pruned.values()) / sum(p.keep.numel() for p in pruned.values())
    assert total == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "owl_magnitude"])
def test_missing_statistics_are_an_error_that_names_the_layer(
    target: Target, calibration: Calibration, method: str
) -> None:
    with pytest.raises(HarnessError, match=r"text_encoder\.encoder\.layers\.0.*calibrate first"):
        prune_component(target, TEXT, method, "all", [0.5], None)
    lacking = {name: s for name, s in calibration.components[TEXT].items() if not name.startswith("encoder.layers.2.")}
    with pytest.raises(HarnessError, match=r"text_encoder\.encoder\.layers\.2\..*: calibration never ran this layer"):
        prune_component(target, TEXT, method, "all", [0.5], {TEXT: lacking})


@pytest.mark.parametrize("method", sorted(name for name, method in METHODS.items() if method.needs))
def test_statistics_that_rest_on_no_row_are_refused_by_the_layer_s_name(
    target: Target, calibration: Calibration, method: str
) -> None:
    empty = dict(calibration.components[TEXT])
    stats = empty[FIRST]
    assert stats.gram is not None
    empty[FIRST] = LayerStats(
        0, torch.zeros_like(stats.squares), torch.zeros_like(stats.gram), torch.zeros_like(stats.squares)
    )
    with pytest.raises(HarnessError, match=rf"{method} cannot prune text_encoder\.{FIRST}: calibration saw no input"):
        prune_component(target, TEXT, method, "all", [0.5], {TEXT: empty})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_weight_that_is_not_finite_is_refused_by_the_layer_s_name(
    target: Target, calibration: Calibration, method: str, bad: float
) -> None:
    weight = target.components[TEXT].get_submodule(FIRST).weight
    right = weight[3, 4].item()
    with torch.no_grad():
        weight[3, 4] = bad
    try:
        with pytest.raises(HarnessError, match=rf"{method} cannot prune text_encoder\.{FIRST}: a weight is NaN"):
            prune_component(target, TEXT, method, "all", [0.5], calibration.components)
    finally:
        with torch.no_grad():
            weight[3, 4] = right


def test_a_pattern_that_does_not_divide_is_said_with_the_layer(target: Target) -> None:
    check_pattern(target, Case("scenes", TEXT, "magnitude", "all", (Pattern(2, 4),)))
    with pytest.raises(HarnessError, match=r"the pattern 2:5 does not divide unet\.\S+, which has \d+ inputs"):
        check_pattern(target, Case("scenes", "both", "magnitude", "all", (0.5, Pattern(2, 5))))


def test_rounding_follows_the_group_of_the_method(target: Target) -> None:
    dense = weights(target, TEXT)
    total = sum(w.numel() for w in dense.values())
    for method, groups in (
        ("magnitude", len(dense)),
        ("wanda", sum(w.shape[0] for w in dense.values())),
        ("sparsegpt", sum(-(-w.shape[1] // 128) for w in dense.values())),
    ):
        assert rounding(target, Case("scenes", TEXT, method, "all", (0.5,))) == {TEXT: 0.5 * groups / total}
    assert rounding(target, Case("scenes", TEXT, "wanda", "all", (Pattern(2, 4),))) == {TEXT: 0.0}
    assert rounding(target, Case("scenes")) == {}


def test_a_method_and_an_allocation_from_outside_are_used(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_the_first(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
        assert layers[FIRST].block == "encoder.layers.0" and layers[FIRST].stats is None
        return {name: 1.0 if name == FIRST else 0.0 for name in layers}

    monkeypatch.setitem(ALLOCATIONS, "first", only_the_first)
    with added(Method("mine", magnitude.prune, "layer", "for this test", allocation="first")):
        pruned = prune_component(target, TEXT, "mine", "all", [0.5], None)[0]
    assert [name for name, one in pruned.items() if not one.keep.all()] == [FIRST] and not pruned[FIRST].keep.any()


def half(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return [replace(one, weight=one.weight.half()) for one in magnitude.prune(weight, stats, levels, seed)]


def numbers(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return [replace(one, keep=one.keep.float()) for one in magnitude.prune(weight, stats, levels, seed)]


def once(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return magnitude.prune(weight, stats, levels, seed)[:1]


@pytest.mark.parametrize("wrong", [half, numbers, once])
def test_a_pruner_that_returns_something_else_is_named(target: Target, wrong: object) -> None:
    with (
        added(Method("wrong", wrong, "layer", "for this test")),
        pytest.raises(HarnessError, match=r"a wrong result for text_encoder\.encoder\.layers\.0.*correct the pruner"),
    ):
        prune_component(target, TEXT, "wrong", "all", [0.5, 0.6], None)


@pytest.mark.parametrize(
    ("allocation", "said"),
    [("owls", "allocation of the method mine 'owls' is unknown"), ("short", "does not return one sparsity per layer")],
)
def test_an_allocation_that_cannot_be_used_is_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, allocation: str, said: str
) -> None:
    monkeypatch.setitem(ALLOCATIONS, "short", lambda layers, sparsity: {})
    mine = Method("mine", magnitude.prune, "layer", "for this test", allocation=allocation)
    with added(mine), pytest.raises(HarnessError, match=said):
        prune_component(target, TEXT, "mine", "all", [0.5], None)


def test_weights_in_a_dtype_that_cannot_be_pruned_are_one_message(target: Target) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight = nn.Parameter(torch.eye(4).to(torch.float8_e4m3fn), requires_grad=False)
    small = replace(target, components={"unet": model})
    for method in ("magnitude", "global_magnitude"):
        with pytest.raises(HarnessError, match=rf"{method} cannot prune unet\.0: its weight is float8_e4m3fn; load"):
            prune_component(small, "unet", method, "all", [0.5], None)


def test_a_layer_with_an_empty_weight_stays_as_it_is(target: Target) -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 4))
    model[0].weight = nn.Parameter(torch.empty(4, 0))
    small = replace(target, components={"unet": model})
    for method in ("magnitude", "random", "global_magnitude"):
        assert [*prune_component(small, "unet", method, "all", [0.5], None)[0]] == ["1"]


def test_rounding_counts_the_blocks_of_every_group_of_a_convolution() -> None:
    """Sana's transformer has a convolution per channel, of nine weights each: half of nine is four or five."""
    cpu = torch.device("cpu")
    sana = wrap("sana", seeded("sana"), "digest", cpu)
    sana = replace(sana, protocol=replace(sana.protocol, num_inference_steps=2))
    case = Case("sana", "transformer", "sparsegpt", "all", (0.5,))
    calibrated = calibrate(sana, ["transformer"], "all", ["a red dog"], gram=True)
    keeps = [pruned.keep for pruned in prune(sana, case, calibrated.components)["transformer"].values()]
    achieved = 1 - sum(int(keep.sum()) for keep in keeps) / sum(keep.numel() for keep in keeps)
    assert 0.002 < abs(achieved - 0.5) <= rounding(sana, case)["transformer"] < 0.02
