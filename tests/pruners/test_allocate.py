"""Allocations: totals are exact, order follows outliers, and the published formula holds where it is defined."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruners import alpha, magnitude, ria, wanda
from pruners.allocate import ALLOCATIONS, by_global_threshold, outliers, owl
from pruners.select import count, smallest_pruned
from pruners.stats import collect
from pruners.types import LayerFacts, LayerRefused
from tests.reference import alpha as slow_alpha
from tests.reference import magnitude as slow_magnitude
from tests.reference import owl as slow_owl


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def component(rows: tuple[int, ...] = (50, 9, 30)) -> dict[str, LayerFacts]:
    """Return three layers in two blocks; one of them has an input that is far larger than the others."""
    inputs = [noise(n, size, seed=n) for n, size in zip(rows, (6, 8, 5), strict=True)]
    inputs[1][:, 2] *= 100
    shapes = {"a.q": (7, 6), "a.k": (4, 8), "b": (9, 5)}
    return {
        name: LayerFacts(noise(*shape, seed=i), collect(x, gram=False), name[0])
        for i, ((name, shape), x) in enumerate(zip(shapes.items(), inputs, strict=True))
    }


@pytest.mark.parametrize("name", sorted(ALLOCATIONS))
@given(sparsity=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_every_allocation_spreads_exactly_what_was_asked_for(name: str, sparsity: float) -> None:
    layers = component()
    spread = ALLOCATIONS[name](layers, sparsity)
    assert spread.keys() == layers.keys() and all(0 <= s <= 1 for s in spread.values())
    sizes = {layer: facts.weight.numel() for layer, facts in layers.items()}
    total = sum(spread[layer] * size for layer, size in sizes.items()) / sum(sizes.values())
    assert total == pytest.approx(sparsity, abs=0.5 / sum(sizes.values()) + 1e-9)


@given(
    shares=st.lists(st.floats(0, 100), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 10**6), min_size=8, max_size=8),
    sparsity=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_owl_s_total_is_the_sparsity_asked_for(shares: list[float], sizes: list[int], sparsity: float) -> None:
    names = [str(i) for i in range(len(shares))]
    size = dict(zip(names, sizes, strict=False))
    found = owl(dict(zip(names, shares, strict=True)), size, sparsity)
    total = sum(found[n] * size[n] for n in names) / sum(size[n] for n in names)
    assert total == pytest.approx(sparsity, abs=1e-9)
    assert all(0 <= s <= 1 for s in found.values())
    assert max(found.values()) - min(found.values()) <= 0.16 + 1e-9
    ranked = sorted(names, key=lambda n: shares[int(n)])
    assert all(found[a] >= found[b] - 1e-12 for a, b in pairwise(ranked))


@given(
    shares=st.lists(st.integers(0, 10**6).map(lambda n: n / 10**4), min_size=2, max_size=8, unique=True),
    sparsity=st.sampled_from([0.2, 0.5, 0.7, 0.8]),
)
@settings(max_examples=100, deadline=None)
def test_owl_is_the_published_formula_for_blocks_of_one_size(shares: list[float], sparsity: float) -> None:
    named = {str(i): share for i, share in enumerate(shares)}
    found = owl(named, dict.fromkeys(named, 10), sparsity)
    assert list(found.values()) == pytest.approx(slow_owl.sparsities(shares, sparsity))


def test_blocks_with_equal_outliers_get_equal_sparsities() -> None:
    assert owl({"a": 3.0, "b": 3.0}, {"a": 1, "b": 5}, 0.4) == pytest.approx({"a": 0.4, "b": 0.4})


def test_outliers_are_counted_over_the_whole_block() -> None:
    first, second = torch.ones(3, 10), torch.ones(2, 10)
    second[0, 0] = second[1, 1] = 400.0
    assert outliers([first, second]) == pytest.approx(4.0)
    assert outliers([first]) == 0.0
    flat = [*first.flatten().tolist(), *second.flatten().tolist()]
    assert outliers([first, second]) == pytest.approx(slow_owl.outliers(flat))


def test_the_owl_allocation_counts_outliers_per_row_and_gives_a_block_one_sparsity() -> None:
    layers = component()
    spread = ALLOCATIONS["owl"](layers, 0.6)
    shares = {}
    for block, names in (("a", ["a.q", "a.k"]), ("b", ["b"])):
        tables = [wanda.scores(layers[n].weight, layers[n].stats) / layers[n].stats.rows ** 0.5 for n in names]
        shares[block] = slow_owl.outliers([score for table in tables for score in table.flatten().tolist()])
    assert shares["a"] > shares["b"]
    wanted = owl(shares, {"a": 7 * 6 + 4 * 8, "b": 9 * 5}, 0.6)
    assert spread == pytest.approx({"a.q": wanted["a"], "a.k": wanted["a"], "b": wanted["b"]})
    assert spread["a.q"] < 0.6 < spread["b"]


def test_a_layer_with_many_rows_has_no_more_outliers_for_that() -> None:
    """Sums of squares grow with the rows; divided by them, no weight of these two blocks stands out."""

    def layer(shape: tuple[int, int], rows: int, block: str) -> LayerFacts:
        return LayerFacts(torch.ones(shape), collect(torch.ones(rows, shape[1]), gram=False), block)

    layers = {"text": layer((20, 20), 4, "a"), "pixels": layer((2, 20), 4000, "a"), "alone": layer((9, 9), 50, "b")}
    assert ALLOCATIONS["owl"](layers, 0.5) == pytest.approx(dict.fromkeys(layers, 0.5))


def test_calibrating_on_twice_as_many_rows_spreads_alike() -> None:
    once = component()
    twice = {
        name: replace(facts, stats=replace(facts.stats, rows=2 * facts.stats.rows, squares=2 * facts.stats.squares))
        for name, facts in once.items()
    }
    assert ALLOCATIONS["owl"](once, 0.5) == pytest.approx(ALLOCATIONS["owl"](twice, 0.5))


@given(sparsity=st.floats(0, 1), seed=st.integers(0, 99), integers=st.booleans())
@settings(max_examples=80, deadline=None)
def test_one_threshold_for_all_layers(sparsity: float, seed: int, integers: bool) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores = {"a": torch.rand(7, 5, generator=rng), "b": torch.rand(3, 4, generator=rng) * 3}
    if integers:
        scores = {name: (score * 4).floor() for name, score in scores.items()}
    found = by_global_threshold(scores, sparsity)
    flat = torch.cat([score.flatten() for score in scores.values()])
    keep = smallest_pruned(flat[None], [sparsity])[0][0]
    wanted = {"a": int((~keep[:35]).sum()), "b": int((~keep[35:]).sum())}
    assert {name: count(s, scores[name].numel()) for name, s in found.items()} == wanted


@pytest.mark.parametrize("level", ["0", "0.1", "0.5", "0.77", "1"])
def test_the_global_allocation_gives_the_masks_of_one_comparison(level: str) -> None:
    layers = component()
    spread = ALLOCATIONS["global"](layers, float(level))
    found = [magnitude.prune(facts.weight, None, [spread[n]], 0)[0].keep.tolist() for n, facts in layers.items()]
    tables = [facts.weight.tolist() for facts in layers.values()]
    assert found == slow_magnitude.keep_of_a_component(tables, level)


@pytest.mark.parametrize("name", ["global", "owl"])
def test_the_layer_that_stops_an_allocation_is_named(name: str) -> None:
    layers = component()
    bad = layers["a.k"].weight.clone()
    bad[1, 1] = float("nan")
    layers["a.k"] = replace(layers["a.k"], weight=bad)
    with pytest.raises(LayerRefused, match=r"a\.k: a weight is NaN or infinite") as error:
        ALLOCATIONS[name](layers, 0.5)
    assert error.value.layer == "a.k"


def test_missing_statistics_are_named() -> None:
    layers = component()
    layers["b"] = replace(layers["b"], stats=None)
    with pytest.raises(LayerRefused, match="b: the method needs the layer's sums of squares: calibrate first"):
        ALLOCATIONS["owl"](layers, 0.5)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        owl({"a": 1.0}, {"a": 3}, 1.5)
    with pytest.raises(LayerRefused, match="a: a score is NaN or infinite"):
        by_global_threshold({"a": torch.tensor([1.0, float("nan")])}, 0.5)


@given(out=st.integers(3, 9), size=st.integers(3, 9), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_exponent_of_a_spectrum_is_the_published_one(out: int, size: int, seed: int) -> None:
    weight = noise(out, size, seed=seed).double()
    assert alpha.tail_exponent(weight) == pytest.approx(slow_alpha.exponent(weight.numpy()), rel=1e-6)


def test_a_heavier_tail_has_a_smaller_exponent() -> None:
    even = torch.diag(torch.linspace(1.0, 1.1, 20))
    heavy = torch.diag(torch.logspace(0, 2, 20))
    assert alpha.tail_exponent(heavy) < 2 < alpha.tail_exponent(even)
    assert alpha.tail_exponent(torch.eye(4)) == alpha.tail_exponent(torch.ones(1, 5)) == np.inf


@given(
    exponents=st.lists(st.integers(100, 2000).map(lambda n: n / 100), min_size=2, max_size=8, unique=True),
    sizes=st.lists(st.integers(1, 10**6), min_size=8, max_size=8),
    sparsity=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_alpha_is_the_published_formula_and_keeps_the_total_where_that_clamps(
    exponents: list[float], sizes: list[int], sparsity: float
) -> None:
    named = {str(i): value for i, value in enumerate(exponents)}
    size = dict(zip(named, sizes, strict=False))
    spread = alpha.alpha(named, size, sparsity)
    total = sum(spread[n] * size[n] for n in named) / sum(size.values())
    assert total == pytest.approx(sparsity, abs=1e-9) and all(0 <= s <= 1 for s in spread.values())
    published = slow_alpha.sparsities(exponents, [*size.values()], sparsity)
    if max(published) < 1:
        assert [*spread.values()] == pytest.approx(published, abs=1e-9)
    ranked = sorted(named, key=named.__getitem__)
    assert all(spread[a] <= spread[b] + 1e-12 for a, b in pairwise(ranked))


def test_the_alpha_allocation_gives_a_block_one_sparsity_by_its_mean_exponent() -> None:
    layers = component()
    spread = ALLOCATIONS["alpha"](layers, 0.5)
    exponents = {name: slow_alpha.exponent(facts.weight.double().numpy()) for name, facts in layers.items()}
    means = [(exponents["a.q"] + exponents["a.k"]) / 2, exponents["b"]]
    wanted = slow_alpha.sparsities(means, [7 * 6 + 4 * 8, 9 * 5], 0.5)
    assert spread == pytest.approx({"a.q": wanted[0], "a.k": wanted[0], "b": wanted[1]}, rel=1e-5)


def test_blocks_without_an_exponent_are_pruned_like_the_largest() -> None:
    layers = {"a": LayerFacts(torch.eye(6), None, "a"), "b": LayerFacts(noise(8, 6), None, "b")}
    assert ALLOCATIONS["alpha"](layers, 0.4) == pytest.approx({"a": 0.4, "b": 0.4})


@pytest.mark.parametrize(("name", "scores", "power"), [("wanda", wanda.scores, 0.5), ("ria", ria.scores, 0.25)])
def test_one_threshold_of_a_calibrated_score_compares_it_per_row(name: str, scores: object, power: float) -> None:
    layers = component()
    tables = {n: scores(f.weight, f.stats) / f.stats.rows**power for n, f in layers.items()}  # type: ignore[operator]
    flat = sorted(value for table in tables.values() for value in table.flatten().tolist())
    limit = flat[count(0.3, len(flat)) - 1]
    spread = ALLOCATIONS[f"global_{name}"](layers, 0.3)
    assert spread == {n: float((table <= limit).double().mean()) for n, table in tables.items()}
