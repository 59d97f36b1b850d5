"""Variants of cases: equal counts, layers given back, and masks that are on in a part of the denoising steps."""

from __future__ import annotations

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.run import Caches, pruned, run
from harness.generation.generate import generate
from harness.pruning.prune import prune, rounding
from harness.surgery.census import census
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import masked
from harness.targets.target import Target
from harness.workloads.scenes import scenes
from pruners.levels import Level, Pattern

UNET, TEXT = "unet", "text_encoder"


def case(layers: str, level: Level, variant: str = "", component: str = UNET) -> Case:
    return Case("scenes", component, "magnitude", layers, (level,), variant)


def size(target: Target, layers: str) -> int:
    return sum(matrix(x).numel() for x in prunable(target.components[UNET], layers, target.family.kinds).values())


@pytest.mark.parametrize("kind", ["cross_attention", "convolution", "mid"])
def test_equal_counts_prune_as_many_weights_in_every_kind(target: Target, kind: str) -> None:
    chosen = case(kind, 0.01, "count")
    pruning = prune(target, chosen)[UNET]
    gone = sum(int((~one.keep).sum()) for one in pruning.values())
    assert gone == pytest.approx(0.01 * size(target, "all"), abs=0.5 * len(pruning))
    assert pruning.keys() == prunable(target.components[UNET], kind, target.family.kinds).keys()
    with masked(target.components, {UNET: pruning}):
        counts = census(target.components, chosen.counted, target.family.kinds)[UNET]
    assert counts.targeted == size(target, "all")
    assert abs(counts.sparsity_targeted - 0.01) <= rounding(target, chosen)[UNET] + 1e-9


def test_more_weights_than_a_kind_has_are_refused_with_the_most_that_it_has(target: Target) -> None:
    most = size(target, "time_embedding") / size(target, "all")
    with pytest.raises(
        HarnessError, match=rf"its time_embedding layers have .*; give a sparsity of at most {most:.3f}"
    ):
        prune(target, case("time_embedding", 0.9, "count"))


def test_layers_that_are_given_back_are_dense_and_the_others_pruned_as_before(target: Target) -> None:
    whole, back = prune(target, case("all", 0.6))[UNET], prune(target, case("all", 0.6, "back_resnet"))[UNET]
    resnet = prunable(target.components[UNET], "resnet", target.family.kinds)
    assert back.keys() == whole.keys() - resnet.keys() and resnet
    assert all(torch.equal(one.keep, whole[name].keep) for name, one in back.items())
    chosen = case("all", 0.6, "back_resnet")
    with masked(target.components, {UNET: back}):
        counts = census(target.components, chosen.counted, target.family.kinds, chosen.given_back)[UNET]
    assert counts.targeted == size(target, "all") - size(target, "resnet")
    assert abs(counts.sparsity_targeted - 0.6) <= rounding(target, chosen)[UNET] + 1e-9


def test_giving_back_everything_or_nothing_is_refused(target: Target) -> None:
    with pytest.raises(HarnessError, match="all layers get their dense weights back; choose another variant"):
        prune(target, case("cross_attention", 0.5, "back_attention"))
    with pytest.raises(HarnessError, match="no layer is of the kind resnet"):
        prune(target, case("all", 0.5, "back_resnet", TEXT))


def test_counts_of_a_component_without_layers_of_the_kind_are_zero(target: Target) -> None:
    counts = census(target.components, "cross_attention", target.family.kinds)
    assert (counts[TEXT].targeted, counts[TEXT].sparsity_targeted) == (0, 0.0) and counts[UNET].targeted > 0


@pytest.mark.parametrize("half", ["early", "late"])
def test_every_step_runs_with_the_weights_of_its_half(target: Target, half: str) -> None:
    """The control: the weights that the denoiser holds whenever it is called."""
    pruning = prune(target, case("all", 0.6))
    unet, name = target.components[UNET], next(iter(pruning[UNET]))
    dense, thin = matrix(unet.get_submodule(name)).clone(), pruning[UNET][name].weight
    seen: list[str] = []

    def look(module: object, args: object) -> None:
        weight = matrix(unet.get_submodule(name))
        seen.append("pruned" if torch.equal(weight, thin) else "dense" if torch.equal(weight, dense) else "wrong")

    handle = unet.register_forward_pre_hook(look)
    with masked(target.components, pruning) as switch:
        generate(target, ["a", "b", "c"], 2, str, before_step=switch.in_half(half, 2))
    handle.remove()
    # Two batches of two steps.
    assert seen == (["pruned", "dense"] if half == "early" else ["dense", "pruned"]) * 2
    assert torch.equal(matrix(unet.get_submodule(name)), dense)


def test_the_halves_of_any_number_of_steps(target: Target) -> None:
    pruning = prune(target, case("all", 0.6))
    layer = target.components[UNET].get_submodule(next(iter(pruning[UNET])))
    dense = layer.weight.detach().clone()
    for steps in (1, 2, 5):
        with masked(target.components, pruning) as switch:
            on = {}
            for half in ("early", "late"):
                at_step = switch.in_half(half, steps)
                on[half] = []
                for step in range(steps):
                    at_step(step)
                    on[half].append(not torch.equal(layer.weight, dense))
        assert sum(on["early"]) == (steps + 1) // 2 and on["early"] == sorted(on["early"], reverse=True)
        assert on["late"] == [not pruned_then for pruned_then in on["early"]]
        assert torch.equal(layer.weight, dense)


def test_a_case_of_half_the_steps_has_pictures_of_its_own() -> None:
    bench = Workbench(Setup(scenes(2), "cpu", 2))
    caches = Caches.of(bench)
    dense = run(Case("scenes"), bench, None, caches, str)
    drift, keys = {}, set()
    for variant in ("", "early", "late"):
        chosen = case("all", 0.6, variant)
        drift[variant] = run(chosen, bench, dense, caches, str).record.quality["drift"].value
        with pruned(chosen, bench, caches, str) as facts:
            keys.add(facts.trace.weights)
    assert min(drift["early"], drift["late"]) > 0 and len(set(drift.values())) == len(keys) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"variant": "earlier"}, "variant 'earlier' is unknown; did you mean early"),
        ({"component": TEXT, "variant": "late"}, "text_encoder has a text encoder, which runs before them"),
        (
            {"variant": "count"},
            "takes a share of all weights from some layers; give a sparsity, and a choice of layers",
        ),
        ({"layers": "mid", "levels": (Pattern(2, 4),), "variant": "count"}, "give a sparsity, and a choice of layers"),
        ({"method": "owl_wanda", "variant": "back_mid"}, "choose a method that prunes evenly"),
        ({"layers": "mid", "variant": "back_mid"}, "leaves no layer to prune"),
        ({"layers": "middle"}, "layers 'middle' is unknown; did you mean mid"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    right = {"target": "t", "component": UNET, "method": "wanda", "layers": "all", "levels": (0.5,)}
    with pytest.raises(HarnessError, match=said):
        Case(**right | wrong)  # type: ignore[arg-type]


def test_a_variant_is_the_last_part_of_an_id_and_part_of_its_curve() -> None:
    chosen = case("cross_attention", 0.05, "count")
    assert chosen.id == "scenes-unet-magnitude-cross_attention-0.05-count"
    assert chosen.group == "scenes-unet-magnitude-cross_attention-count"
    assert case("mid", 0.5).id == "scenes-unet-magnitude-mid-0.50"
    with pytest.raises(HarnessError, match="leave component, layers, levels and variant out"):
        Case("scenes", variant="early")
