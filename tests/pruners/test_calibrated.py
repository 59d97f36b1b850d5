"""Wanda and SparseGPT against the slow references, on every shape that blocks, strips and groups can make awkward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruners import magnitude, ria, sparsegpt, wanda
from pruners.levels import Level, Pattern
from pruners.stats import collect
from pruners.types import Pruner
from tests.reference import magnitude as slow_magnitude
from tests.reference import ria as slow_ria
from tests.reference import sparsegpt as slow_sparsegpt
from tests.reference import wanda as slow_wanda

LEVELS = ("0", "0.1", "0.35", "0.5", "0.9", "1")
PRUNERS: tuple[Pruner, ...] = (wanda.prune, sparsegpt.prune)
OUTS, SIZES, SEEDS = st.integers(1, 7), st.integers(1, 9), st.integers(0, 999)


def inputs(rows: int, size: int, seed: int, dead: tuple[int, ...] = ()) -> Tensor:
    """Correlated inputs of uneven size, float64 `[rows, size]`; `dead` columns are zero."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=rng, dtype=torch.float64) / size**0.5
    found = torch.randn(rows, size, generator=rng, dtype=torch.float64) @ mixing
    found *= torch.rand(size, generator=rng, dtype=torch.float64) * 3
    found[:, list(dead)] = 0
    return found


def weights(out: int, size: int, seed: int) -> Tensor:
    return torch.randn(out, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(out=st.integers(1, 7), size=st.integers(1, 9), level=st.sampled_from(LEVELS), seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_wanda_mask_equals_the_reference(out: int, size: int, level: str, seed: int) -> None:
    weight, x = weights(out, size, seed), inputs(5, size, seed)
    found = wanda.prune(weight, collect(x, gram=False), [float(level)], 0)[0]
    table = slow_wanda.scores(weight.tolist(), x.tolist())
    assert found.keep.tolist() == slow_wanda.keep(table, level)
    assert torch.equal(found.weight, weight * found.keep)


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (4, 8), (1, 4)])
def test_wanda_pattern_equals_the_reference(kept: int, of: int) -> None:
    weight, x = weights(6, 24, 1), inputs(30, 24, 1)
    found = wanda.prune(weight, collect(x, gram=False), [Pattern(kept, of)], 0)[0].keep
    assert found.tolist() == slow_wanda.keep_pattern(slow_wanda.scores(weight.tolist(), x.tolist()), kept, of)


@given(out=OUTS, size=SIZES, level=st.sampled_from(LEVELS), seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_scores_within_another_group_equal_the_reference(out: int, size: int, level: str, seed: int) -> None:
    """Every score within rows and within the layer: the factorial of score and group."""
    weight, x = weights(out, size, seed), inputs(5, size, seed)
    stats, rows = collect(x, gram=False), weight.tolist()
    tables = {"wanda": slow_wanda.scores(rows, x.tolist()), "ria": slow_ria.scores(rows, x.tolist())}
    tables["magnitude"] = [[abs(w) for w in row] for row in rows]
    for pruner, name, keep in (
        (magnitude.prune_rows, "magnitude", slow_wanda.keep),
        (wanda.prune_layer, "wanda", slow_magnitude.keep),
        (ria.prune, "ria", slow_magnitude.keep),
        (ria.prune_rows, "ria", slow_wanda.keep),
    ):
        assert pruner(weight, stats, [float(level)], 0)[0].keep.tolist() == keep(tables[name], level), name


def test_ria_s_pattern_equals_the_reference() -> None:
    weight, x = weights(6, 24, 2), inputs(30, 24, 2)
    table = slow_ria.scores(weight.tolist(), x.tolist())
    for pruner in (ria.prune, ria.prune_rows):
        keep = pruner(weight, collect(x, gram=False), [Pattern(2, 4)], 0)[0].keep
        assert keep.tolist() == slow_wanda.keep_pattern(table, 2, 4)


def test_a_row_and_a_column_of_zeros_go_first_by_ria() -> None:
    weight = weights(5, 6, 3)
    weight[1], weight[:, 2] = 0, 0
    keep = ria.prune(weight, collect(inputs(20, 6, 3), gram=False), [1 / 3], 0)[0].keep
    assert not keep[1].any() and not keep[:, 2].any() and keep.sum() == 20


@pytest.mark.parametrize("shape", [(5, 7), (1, 40), (9, 1), (6, 128), (8, 150), (4, 300)])
def test_sparsegpt_equals_the_reference(shape: tuple[int, int]) -> None:
    out, size = shape
    weight = weights(out, size, 3)
    x = inputs(2 * size, size, 3, dead=(0, size // 2) if size > 2 else ())
    stats = collect(x, gram=True)
    found = sparsegpt.prune(weight, stats, [float(level) for level in LEVELS], 0)
    for level, pruned in zip(LEVELS, found, strict=True):
        keep, changed = slow_sparsegpt.prune(weight.numpy(), stats.gram[0].numpy(), level)
        assert np.array_equal(pruned.keep.numpy(), keep), level
        np.testing.assert_allclose(pruned.weight.numpy(), changed, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (4, 8), (1, 4), (1, 3)])
def test_sparsegpt_pattern_equals_the_reference(kept: int, of: int) -> None:
    size = 30 * of
    weight, stats = weights(5, size, 4), collect(inputs(400, size, 4, dead=(1, 9)), gram=True)
    found = sparsegpt.prune(weight, stats, [Pattern(kept, of)], 0)[0]
    keep, changed = slow_sparsegpt.prune(weight.numpy(), stats.gram[0].numpy(), None, (kept, of))
    assert np.array_equal(found.keep.numpy(), keep)
    np.testing.assert_allclose(found.weight.numpy(), changed, atol=1e-10, rtol=0)


def test_sparsegpt_float32_reconstructs_as_well_as_the_reference() -> None:
    weight, x = weights(64, 320, 5), inputs(2000, 320, 5)
    stats = collect(x.float(), gram=True)
    found = sparsegpt.prune(weight.float(), stats, [0.5], 0)[0]
    keep, changed = slow_sparsegpt.prune(weight.numpy(), (x.T @ x).numpy(), "0.5")
    assert (found.keep.numpy() == keep).mean() >= 0.995

    def loss(new: Tensor) -> float:
        return float((x @ (new.double() - weight).T).square().sum())

    assert loss(found.weight) <= 1.001 * loss(torch.from_numpy(changed))
    magnitude = weight * (weight.abs() > weight.abs().median())
    assert loss(found.weight) < 0.8 * loss(magnitude)


def test_levels_stacked_equal_levels_alone() -> None:
    weight, stats = weights(6, 200, 6), collect(inputs(300, 200, 6), gram=True)
    levels: list[Level] = [0.3, Pattern(2, 4), 0.7, 0.3]
    for level, together in zip(levels, sparsegpt.prune(weight, stats, levels, 0), strict=True):
        alone = sparsegpt.prune(weight, stats, [level], 0)[0]
        assert torch.equal(together.keep, alone.keep)
        torch.testing.assert_close(together.weight, alone.weight, atol=1e-10, rtol=0)


@pytest.mark.parametrize("pruner", (*PRUNERS, ria.prune_rows))
def test_groups_of_a_convolution_are_problems_of_their_own(pruner: Pruner) -> None:
    weight = weights(8, 20, 7)
    x = torch.stack([inputs(60, 20, 8), inputs(60, 20, 9)])
    whole = pruner(weight, collect(x, gram=True), [0.5], 0)[0]
    for g in (0, 1):
        rows = slice(4 * g, 4 * g + 4)
        part = pruner(weight[rows], collect(x[g], gram=True), [0.5], 0)[0]
        assert torch.equal(whole.keep[rows], part.keep)
        torch.testing.assert_close(whole.weight[rows], part.weight)


def test_dead_columns_go_first() -> None:
    weight, x = weights(6, 20, 11), inputs(60, 20, 11, dead=(2, 5))
    for pruner in PRUNERS:
        keep = pruner(weight, collect(x, gram=True), [0.1, 0.5], 0)[0].keep
        assert not keep[:, [2, 5]].any() and keep.sum() == 6 * 18


def test_a_layer_whose_inputs_are_all_zero_is_pruned_by_index() -> None:
    """No weight matters then; the count still holds."""
    stats = collect(torch.zeros(9, 8), gram=True)
    for pruner in PRUNERS:
        assert pruner(weights(1, 8, 5), stats, [0.5], 0)[0].keep.tolist() == [[False] * 4 + [True] * 4]


def test_inputs_that_cannot_be_used_are_refused() -> None:
    weight, x = weights(4, 12, 13), inputs(30, 12, 13)
    for pruner in PRUNERS:
        with pytest.raises(ValueError, match="calibrate first"):
            pruner(weight, None, [0.5], 0)
        bad = x.clone()
        bad[0, 0] = float("nan")
        with pytest.raises(ValueError, match="calibration input is NaN"):
            pruner(weight, collect(bad, gram=True), [0.5], 0)
    broken = collect(x, gram=True)
    broken.gram[0, 0, 1] = broken.gram[0, 1, 0] = 1e9
    with pytest.raises(ValueError, match="cannot be factored; calibrate on more captions"):
        sparsegpt.prune(weight, broken, [0.5], 0)


def test_a_compensated_weight_that_does_not_fit_into_the_dtype_is_refused() -> None:
    """Two inputs that are nearly the same: the weight that is left takes over what the other one did."""
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(1)).repeat(1, 2)
    weight = torch.tensor([[4e4, 5e4]], dtype=torch.float16)
    with pytest.raises(ValueError, match=r"does not fit into torch\.float16"):
        sparsegpt.prune(weight, collect(x, gram=True), [0.5], 0)
