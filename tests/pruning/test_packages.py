"""OBS-Diff's two switches: weights of steps against rows recorded step by step, packages against doing it by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.levels import Levels
from harness.execution.statistics import Calibrations
from harness.generation.generate import sample
from harness.pruning.calibration import Calibration, calibrate
from harness.pruning.packages import Recalibrate
from harness.pruning.prune import prune, prune_component
from harness.surgery.inputs import rows
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import masked, sketch
from harness.targets.target import Target
from pruners import METHODS, Method
from pruners.obsdiff import packages, step_weights
from pruners.types import LayerStats
from tests.pruning.conftest import CAPTIONS

TEXT = "text_encoder"


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_weights_of_steps_are_the_published_ones_up_to_a_factor(steps: int) -> None:
    weights = step_weights(steps)
    published = [0.8 + 0.4 * log(steps - i) / log(steps) if steps > 1 else 1.0 for i in range(steps)]
    assert sum(weights) == pytest.approx(steps)
    assert [w / weights[0] for w in weights] == pytest.approx([p / published[0] for p in published])


@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=30), parts=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_packages_hold_every_block_once_in_order(sizes: list[int], parts: int) -> None:
    blocks = {str(i): size for i, size in enumerate(sizes)}
    made = packages(blocks, parts)
    assert [name for package in made for name in package] == [*blocks]
    assert all(made) and len(made) <= parts
    for package in made:
        # No package is larger than its share by more than the blocks at its two ends.
        inner = sum(blocks[name] for name in package) - (blocks[package[0]] + blocks[package[-1]]) / 2
        assert inner <= sum(sizes) / parts + 1e-9


def test_statistics_are_weighted_by_the_step_of_every_row(target: Target, calibration: Calibration) -> None:
    """The control: rows of one layer, recorded with the step in which it saw them."""
    name, by_step, step = "conv_in", [torch.zeros(0) for _ in range(2)], 0
    layer = target.components["unet"].get_submodule(name)

    def record(module: object, args: tuple[Tensor, ...]) -> None:
        seen = rows(layer, args[0])[0].double()
        by_step[step] = torch.cat([by_step[step], seen]) if len(by_step[step]) else seen

    def next_step(done: int, latents: Tensor) -> None:
        nonlocal step
        step = done + 1

    handle = layer.register_forward_pre_hook(record)
    sample(target, CAPTIONS, 2, next_step)
    handle.remove()
    weighted = calibrate(target, ["text_encoder", "unet"], "all", CAPTIONS, True, sums=True, by_steps=True)
    stats, plain = weighted.components["unet"][name], calibration.components["unet"][name]
    first, second = step_weights(2)
    assert weighted.about.by_steps and first > second and stats.rows == plain.rows == sum(map(len, by_step))
    gram = first * by_step[0].T @ by_step[0] + second * by_step[1].T @ by_step[1]
    torch.testing.assert_close(stats.gram[0].double(), gram, rtol=1e-3, atol=1e-4 * float(gram.abs().max()))
    torch.testing.assert_close(stats.squares[0], gram.diagonal(), rtol=1e-4, atol=1e-4)
    total = first * by_step[0].sum(0) + second * by_step[1].sum(0)
    torch.testing.assert_close(stats.sums[0], total, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(plain.sums[0], (by_step[0].sum(0) + by_step[1].sum(0)), rtol=1e-4, atol=1e-2)
    # A text encoder has no steps.
    for layer_name, of_text in weighted.components[TEXT].items():
        torch.testing.assert_close(of_text.squares, calibration.components[TEXT][layer_name].squares)


def test_every_package_is_calibrated_on_the_model_with_the_earlier_ones_pruned(
    target: Target, calibration: Calibration, recalibrate: Recalibrate
) -> None:
    dense = {name: matrix(layer).clone() for name, layer in prunable(target.components[TEXT], "all").items()}
    order = [*calibration.components[TEXT]]
    asked: list[Sequence[str]] = []

    def spy(component: str, needs: frozenset[str], names: Sequence[str]) -> Mapping[str, LayerStats]:
        part = target.components[TEXT]
        pruned = {n for n, weight in dense.items() if not torch.equal(matrix(part.get_submodule(n)), weight)}
        assert component == TEXT and needs == {"squares"}
        assert pruned == set(order[: min(map(order.index, names))])
        asked.append(names)
        return recalibrate(component, needs, names)

    together = prune_component(target, TEXT, "wanda_packages", "all", [0.6], calibration.components, spy)[0]
    assert len(asked) == METHODS["wanda_packages"].packages - 1
    assert all(max(map(order.index, a)) < min(map(order.index, b)) for a, b in pairwise(asked))
    # By hand: each package alone, with plain Wanda, while those before it are pruned.
    done = {n: p for n, p in plain_wanda(target, calibration.components).items() if all(n not in a for a in asked)}
    for names in asked:
        with masked(target.components, {TEXT: done}):
            known = calibrate(target, [TEXT], "all", CAPTIONS, False).components
        done |= {n: p for n, p in plain_wanda(target, known).items() if n in names}
    assert all(torch.equal(together[name].keep, done[name].keep) for name in dense)
    assert any(not torch.equal(p.keep, done[n].keep) for n, p in plain_wanda(target, calibration.components).items())
    now = {name: matrix(layer) for name, layer in prunable(target.components[TEXT], "all").items()}
    assert all(torch.equal(now[name], weight) for name, weight in dense.items())


def plain_wanda(target: Target, statistics: Mapping[str, Mapping[str, LayerStats]]) -> dict[str, object]:
    return prune_component(target, TEXT, "wanda", "all", [0.6], statistics)[0]


def test_packages_without_a_way_to_calibrate_again_are_refused(target: Target, calibration: Calibration) -> None:
    case = Case("scenes", TEXT, "obsdiff", "all", (0.5,))
    with pytest.raises(HarnessError, match="obsdiff calibrates text_encoder again between packages"):
        prune(target, case, calibration.components)


@pytest.mark.parametrize(("packages", "needs"), [(0, {"gram"}), (4, set())])
def test_an_entry_with_packages_that_cannot_be_is_refused(packages: int, needs: set[str]) -> None:
    with pytest.raises(ValueError, match=rf"method x has {packages} packages; use 1"):
        Method("x", "m:f", "row", "s", needs=frozenset(needs), packages=packages)


def test_methods_that_weigh_steps_and_methods_that_do_not_have_statistics_of_their_own(bench: Workbench) -> None:
    case = Case("scenes", "both", "wanda+sparsegpt_steps", "all", (0.5, 0.5))
    cache = Calibrations(bench, [case])
    taken: list[tuple[list[str], bool]] = []
    few = calibrate(bench.target, ["text_encoder"], "all", CAPTIONS[:1], gram=False)

    def take(cases: set[Case], by_steps: bool, progress: object) -> Calibration:
        taken.append((sorted(one.id for one in cases), by_steps))
        part = "unet" if by_steps else TEXT
        about = few.about.__class__(**{**vars(few.about), "gram": by_steps, "by_steps": by_steps})
        return Calibration(about, {part: {"of": LayerStats(1, torch.zeros(1, 1) + by_steps)}})

    cache._take = take  # type: ignore[method-assign]
    for _ in range(2):
        statistics = cache.of(case, print)
        assert statistics is not None and [*statistics] == [TEXT, "unet"]
        assert [float(statistics[part]["of"].squares) for part in statistics] == [0.0, 1.0]
    assert taken == [([case.id], False), ([case.id], True)]


def test_a_case_in_packages_runs_through_the_cache_of_levels(bench: Workbench) -> None:
    case = Case("scenes", TEXT, "wanda_packages", "all", (0.6,))
    statistics = Calibrations(bench, [case]).of(case, print)
    first, together = Levels(bench, [case]).prune(case, statistics)
    again, _ = Levels(bench, [case]).prune(case, statistics)
    assert together == 1 and sketch(first) == sketch(again)
    assert sketch(first) != sketch(prune(bench.target, Case("scenes", TEXT, "wanda", "all", (0.6,)), statistics))
