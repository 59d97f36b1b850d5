"""Statistics of inputs: sums that merge, hold over the whole range of floats, and are refused where they cannot."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruners import sparsegpt, wanda
from pruners.levels import Level, Pattern
from pruners.stats import collect, fitting, merge, scaled, sum_of_squares
from pruners.types import LayerStats, Pruner

LEVELS: list[Level] = [0.5, Pattern(2, 4)]


def rows(n: int, size: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, size, generator=rng) @ torch.randn(size, size, generator=rng)


@given(cuts=st.lists(st.integers(0, 60), max_size=3), seed=st.integers(0, 99), gram=st.booleans())
@settings(max_examples=60, deadline=None)
def test_merged_statistics_are_those_of_all_rows(cuts: list[int], seed: int, gram: bool) -> None:
    x = rows(60, 12, seed).double()
    edges = [0, *sorted(cuts), 60]
    first, *others = (collect(x[a:b], gram, sums=True) for a, b in pairwise(edges))
    for part in others:
        first = merge(first, part)
    whole = collect(x, gram, sums=True)
    torch.testing.assert_close(first.sums, x.sum(0)[None])
    torch.testing.assert_close(scaled(first, 3).squares, 3 * whole.squares)
    assert first.rows == 60
    torch.testing.assert_close(first.squares, whole.squares)
    torch.testing.assert_close(first.gram, whole.gram)


def test_statistics_of_different_layers_do_not_merge() -> None:
    whole = collect(rows(5, 6), gram=True)
    for other in (
        collect(rows(5, 4), gram=True), collect(rows(5, 6), gram=False), collect(rows(5, 6), gram=True, sums=True)
    ):  # fmt: skip
        with pytest.raises(ValueError, match="do not fit together"):
            merge(whole, other)


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e-19, 1.0, 1e19, 1e25, 1e37])
def test_squares_hold_over_the_range_of_float32(scale: float) -> None:
    """Squared in float32, numbers under 1e-19 become less exact or zero, and numbers over 1e19 infinite."""
    x = (rows(50, 7) * scale / 100).clone()
    for taken in (collect(x, gram=False).squares[0], sum_of_squares(x, 0), sum_of_squares(x.T.contiguous(), 1)):
        torch.testing.assert_close(taken, x.double().square().sum(0), rtol=1e-6, atol=0)


def test_one_large_input_among_small_ones_and_one_dead_one() -> None:
    x = rows(50, 4)
    x[:, 0] *= 1e-30
    x[:, 1] *= 1e25
    x[:, 2] = 0
    torch.testing.assert_close(sum_of_squares(x, 0), x.double().square().sum(0), rtol=1e-6, atol=0)
    assert sum_of_squares(x, 0)[2] == 0


@pytest.mark.parametrize("scale", [2.0**-83, 2.0**-60, 2.0**60, 2.0**83])
def test_wanda_keeps_the_same_weights_at_any_scale_of_inputs(scale: float) -> None:
    weight, x = rows(8, 12, 1), rows(40, 12, 2)
    plain, scaled = (wanda.prune(weight, collect(part, gram=False), LEVELS, 0) for part in (x, x * scale))
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(plain, scaled, strict=True))


@pytest.mark.parametrize(("weights", "inputs"), [(2.0**-30, 2.0**-110), (2.0**40, 2.0**100)])
def test_wanda_s_products_hold_where_float32_could_not_hold_them(weights: float, inputs: float) -> None:
    weight, x = rows(8, 12, 1), rows(40, 12, 2)
    plain = wanda.prune(weight, collect(x, gram=False), LEVELS, 0)
    scaled = wanda.prune(weight * weights, collect(x * inputs, gram=False), LEVELS, 0)
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(plain, scaled, strict=True))


@pytest.mark.parametrize(("scale", "said"), [(2.0**-83, "too small"), (2.0**83, "too large")])
def test_a_gram_matrix_that_float32_cannot_hold_is_refused(scale: float, said: str) -> None:
    stats = collect(rows(40, 12, 2) * scale, gram=True)
    with pytest.raises(ValueError, match=f"its inputs are {said} for a Gram matrix in float32; use a method"):
        sparsegpt.prune(rows(8, 12, 1), stats, LEVELS, 0)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-20, 2.0**20, 2.0**40])
@pytest.mark.parametrize("dead", [(), (3,)], ids=["live", "dead"])
def test_sparsegpt_gives_the_same_bits_at_any_scale(scale: float, dead: tuple[int, ...]) -> None:
    """A dead column counted as 1 in the mean of the damping, whatever the scale of the others was."""
    weight, x = rows(8, 12, 1), rows(40, 12, 2)
    x[:, list(dead)] = 0
    plain, inputs = (sparsegpt.prune(weight, collect(part, gram=True), LEVELS, 0) for part in (x, x * scale))
    weights = sparsegpt.prune(weight * scale**2, collect(x, gram=True), LEVELS, 0)
    for one, two, three in zip(plain, inputs, weights, strict=True):
        assert torch.equal(one.keep, two.keep) and torch.equal(one.weight, two.weight)
        assert torch.equal(one.keep, three.keep) and torch.equal(one.weight * scale**2, three.weight)


def test_a_float64_square_out_of_range_is_refused() -> None:
    for scale in (1e-200, 1e200):
        with pytest.raises(ValueError, match="too small or too large for its square"):
            collect(rows(5, 4).double() * scale, gram=False)
    assert not collect(torch.zeros(5, 4, dtype=torch.float64), gram=False).squares.any()


@pytest.mark.parametrize("pruner", [wanda.prune, sparsegpt.prune], ids=["wanda", "sparsegpt"])
def test_statistics_that_rest_on_no_row_are_refused(pruner: Pruner) -> None:
    """All norms are zero then, and weights went by their index."""
    with pytest.raises(ValueError, match="calibration saw no input of the layer"):
        pruner(rows(4, 6), collect(torch.empty(0, 6), gram=True), [0.5], 0)


def test_bad_statistics_are_refused() -> None:
    weight, stats = rows(4, 12), collect(rows(30, 12), gram=True)
    assert fitting(weight, stats, gram=True) is stats
    for bad, said in (
        (None, "sums of squares: calibrate first"),
        (collect(rows(30, 7), gram=True), r"1 × 7 inputs, the weight is \(4, 12\)"),
        (LayerStats(30, stats.squares.repeat(3, 1)), r"3 × 12 inputs, the weight is \(4, 12\)"),
        (LayerStats(30, -stats.squares), "NaN or infinite"),
        (LayerStats(30, stats.squares * float("nan")), "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=said):
            fitting(weight, bad)
    with pytest.raises(ValueError, match="Gram matrix: calibrate first"):
        fitting(weight, collect(rows(30, 12), gram=False), gram=True)
    for bad, said in ((stats.squares[:, 1:], r"the sums are \(1, 11\), not"), (stats.squares * float("nan"), "NaN")):
        with pytest.raises(ValueError, match=said):
            fitting(weight, LayerStats(30, stats.squares, sums=bad), sums=True)
    with pytest.raises(ValueError, match=r"the Gram matrix is \(1, 12, 11\), not \(1, 12, 12\)"):
        fitting(weight, LayerStats(30, stats.squares, stats.gram[:, :, :-1]), gram=True)
