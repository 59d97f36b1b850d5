"""Refiners: masks and weights that start from a pruner's and get better, against slow references and by property."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruners import dsnot, magnitude, reconstruct, swaps, wanda
from pruners.levels import Level, Pattern
from pruners.select import masked
from pruners.sparsegpt import DAMPING
from pruners.stats import collect
from pruners.types import LayerStats, Pruned, Refiner
from tests.reference import exchanges as slow

LEVELS: list[Level] = [0.0, 0.3, 0.6, 1.0, Pattern(2, 4), Pattern(1, 4)]
REFINERS: tuple[Refiner, ...] = (swaps.refine, reconstruct.refine, dsnot.refine)
SEEDS, DTYPES = st.integers(0, 10**6), st.sampled_from([torch.float32, torch.float64])


def problem(out: int, size: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return a weight `[out, size]` and correlated inputs `[3 * size, size]` whose means are not 0."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=rng, dtype=torch.float64) / size**0.5
    x = (torch.randn(3 * size, size, generator=rng, dtype=torch.float64) + 0.5) @ mixing
    return torch.randn(out, size, generator=rng, dtype=torch.float64).to(dtype), x.to(dtype)


def stats_of(x: Tensor) -> LayerStats:
    return collect(x, gram=True, sums=True)


def error(weight: Tensor, new: Tensor, x: Tensor) -> Tensor:
    """Return the error of every output in float64."""
    return (x.double() @ (new.double() - weight.double()).T).square().sum(0)


@pytest.mark.parametrize("pruner", [magnitude.prune, wanda.prune], ids=["magnitude", "wanda"])
@given(out=st.integers(1, 9), groups=st.integers(1, 12), dtype=DTYPES, seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_swaps_never_raise_the_error_of_a_row_and_keep_every_count(
    pruner: object, out: int, groups: int, dtype: torch.dtype, seed: int
) -> None:
    weight, x = problem(out, 4 * groups, seed, dtype)
    stats = stats_of(x)
    before = pruner(weight, stats, LEVELS, 0)  # type: ignore[operator]
    for level, old, new in zip(LEVELS, before, swaps.refine(weight, stats, LEVELS, before), strict=True):
        assert (error(weight, new.weight, x) <= error(weight, old.weight, x) * (1 + 1e-6)).all()
        assert torch.equal(new.keep.sum(1), old.keep.sum(1))
        assert torch.equal(new.weight, weight.where(new.keep, 0))
        if isinstance(level, Pattern):
            assert (new.keep.reshape(-1, level.of).sum(1) == level.kept).all()


@given(size=st.sampled_from([4, 8]), level=st.sampled_from([0.5, Pattern(2, 4)]), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_swaps_end_where_no_swap_helps(size: int, level: Level, seed: int) -> None:
    """All pairs are candidates in so small a row, so the slow search over all swaps gains nothing more."""
    weight, x = problem(3, size, seed)
    stats = stats_of(x)
    start = magnitude.prune(weight, stats, [level], 0)
    new = swaps.refine(weight, stats, [level], start)[0]
    for row, keep in zip(weight.tolist(), new.keep.tolist(), strict=True):
        least, _ = slow.best_swap(row, keep, x.tolist(), level.of if isinstance(level, Pattern) else None)
        assert least >= slow.error(row, keep, x.tolist()) * (1 - 1e-6)


def test_one_round_takes_the_best_swap_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swaps, "ROUNDS", 1)
    weight, x = problem(5, 12, 3)
    stats = stats_of(x)
    for level, of in ((0.5, None), (Pattern(2, 4), 4)):
        start = wanda.prune(weight, stats, [level], 0)
        new = swaps.refine(weight, stats, [level], start)[0]
        for row, keep, better in zip(weight.tolist(), start[0].keep.tolist(), new.keep.tolist(), strict=True):
            assert better == slow.best_swap(row, keep, x.tolist(), of)[1]


def test_swaps_gain_where_inputs_are_correlated() -> None:
    """The control of the properties above: a refiner that returns what it gets would pass them."""
    weight, x = problem(32, 64, 1)
    stats = stats_of(x)
    start = wanda.prune(weight, stats, [0.5], 0)
    new = swaps.refine(weight, stats, [0.5], start)[0]
    assert error(weight, new.weight, x).sum() < 0.6 * error(weight, start[0].weight, x).sum()


@given(out=st.integers(1, 6), size=st.integers(1, 24), level=st.sampled_from([0.0, 0.4, 0.9]), seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_reconstruction_is_the_solution_of_the_normal_equations(out: int, size: int, level: float, seed: int) -> None:
    weight, x = problem(out, size, seed)
    stats = stats_of(x)
    start = magnitude.prune(weight, stats, [level], 0)
    new = reconstruct.refine(weight, stats, [level], start)[0]
    assert torch.equal(new.keep, start[0].keep)
    gram = (x.T @ x).numpy()
    damped = gram + DAMPING * gram.diagonal().mean() * np.eye(size)
    for row, keep, got in zip(weight.numpy(), new.keep.numpy(), new.weight.numpy(), strict=True):
        wanted = np.zeros(size)
        wanted[keep] = np.linalg.solve(damped[np.ix_(keep, keep)], damped[keep] @ row)
        np.testing.assert_allclose(got, wanted, atol=1e-7 * np.abs(row).max())


@given(out=st.integers(1, 6), size=st.integers(2, 24), dtype=DTYPES, seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_no_change_of_reconstructed_weights_lowers_the_error(
    out: int, size: int, dtype: torch.dtype, seed: int
) -> None:
    weight, x = problem(out, size, seed, dtype)
    stats = stats_of(x)
    new = reconstruct.refine(weight, stats, [0.5], magnitude.prune(weight, stats, [0.5], 0))[0]
    damping = DAMPING * float(x.double().square().sum() / size)

    def objective(values: Tensor) -> Tensor:
        return error(weight, values, x) + damping * (values.double() - weight.double()).square().sum(1)

    least = objective(new.weight)
    rng = torch.Generator().manual_seed(seed)
    for step in (1e-1, 1e-3):
        moved = new.weight.double() + step * torch.randn(weight.shape, generator=rng, dtype=torch.float64) * new.keep
        assert (objective(moved) >= least * (1 - 1e-6)).all()


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)], ids=str)
@given(out=st.integers(1, 6), groups=st.integers(1, 6), seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_dsnot_equals_the_reference_and_keeps_every_count(
    pattern: Pattern | None, out: int, groups: int, seed: int
) -> None:
    weight, x = problem(out, 4 * groups, seed)
    stats, level = stats_of(x), pattern or 0.5
    start = wanda.prune(weight, stats, [level], 0)
    new = dsnot.refine(weight, stats, [level], start)[0]
    wanted = slow.dsnot(
        weight.tolist(), start[0].keep.tolist(), x.tolist(), dsnot.LIMIT, dsnot.CYCLES, pattern.of if pattern else None
    )
    assert new.keep.tolist() == wanted and torch.equal(new.weight, weight.where(new.keep, 0))
    assert torch.equal(new.keep.sum(1), start[0].keep.sum(1))
    if pattern:
        assert (new.keep.reshape(-1, 4).sum(1) == 2).all()


def test_dsnot_brings_the_mean_output_back() -> None:
    weight, x = problem(24, 60, 5)
    stats = stats_of(x)
    start = wanda.prune(weight, stats, [0.6], 0)
    new = dsnot.refine(weight, stats, [0.6], start)[0]

    def missing(keep: Tensor) -> Tensor:
        return (weight.where(~keep, 0) @ x.mean(0)).abs()

    assert (missing(new.keep) <= missing(start[0].keep) + 1e-9).all()
    assert missing(new.keep).mean() < 0.6 * missing(start[0].keep).mean()


@pytest.mark.parametrize("refine", REFINERS)
def test_groups_of_a_convolution_are_refined_alone(refine: Refiner) -> None:
    (first, x), (second, y) = (problem(4, 20, seed) for seed in (8, 9))
    whole, both = torch.cat([first, second]), stats_of(torch.stack([x, y]))
    levels: list[Level] = [0.5, Pattern(2, 4)]
    together = refine(whole, both, levels, wanda.prune(whole, both, levels, 0))
    for rows, weight, own in ((slice(0, 4), first, stats_of(x)), (slice(4, 8), second, stats_of(y))):
        for one, alone in zip(together, refine(weight, own, levels, wanda.prune(weight, own, levels, 0)), strict=True):
            assert torch.equal(one.keep[rows], alone.keep)
            torch.testing.assert_close(one.weight[rows], alone.weight)


@pytest.mark.parametrize("refine", REFINERS)
def test_inputs_that_are_always_zero_or_always_the_same(refine: Refiner) -> None:
    weight, x = problem(6, 12, 4)
    x[:, 3], x[:, 5] = 0, 2.0
    for inputs in (x, torch.zeros_like(x)):
        stats = stats_of(inputs)
        start = magnitude.prune(weight, None, [0.5], 0)
        new = refine(weight, stats, [0.5], start)[0]
        assert torch.isfinite(new.weight).all() and new.keep.sum() == start[0].keep.sum()
        assert not new.weight[~new.keep].any()
        assert (error(weight, new.weight, inputs) <= error(weight, start[0].weight, inputs) + 1e-9).all() or (
            refine is dsnot.refine
        )


@pytest.mark.parametrize("refine", REFINERS)
def test_statistics_that_a_refiner_needs_and_lacks_are_named(refine: Refiner) -> None:
    weight, x = problem(3, 8, 1)
    start = magnitude.prune(weight, None, [0.5], 0)
    wanted = "sums" if refine is dsnot.refine else "Gram matrix"
    with pytest.raises(ValueError, match=f"needs the layer's {wanted}: calibrate first"):
        refine(weight, collect(x, gram=False), [0.5], start)


def test_a_reconstructed_weight_that_does_not_fit_into_the_dtype_is_refused() -> None:
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(1)).repeat(1, 2)
    weight = torch.tensor([[4e4, 5e4]], dtype=torch.float16)
    start: list[Pruned] = [masked(weight, torch.tensor([[False, True]]))]
    with pytest.raises(ValueError, match=r"does not fit into torch\.float16"):
        reconstruct.refine(weight, collect(x, gram=True), [0.5], start)
