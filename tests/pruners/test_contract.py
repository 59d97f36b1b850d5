"""What holds for every method in `PRUNERS`; a new line there is tested unasked."""

from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners import PRUNERS
from pruners.levels import Level, Pattern
from pruners.stats import collect
from pruners.types import LayerStats, Pruner

SHAPES = st.tuples(st.integers(1, 17), st.integers(1, 17))
LEVELS = st.lists(st.floats(0, 1), min_size=1, max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


def load(name: str) -> Pruner:
    module, function = PRUNERS[name].split(":")
    return getattr(importlib.import_module(module), function)


def group_sizes(name: str, shape: tuple[int, int]) -> list[int]:
    """Return the sizes of the comparison groups in a matrix `[out, in]`, from what the method says of itself."""
    out, size = shape
    block = [out * min(128, size - first) for first in range(0, size, 128)]
    group = importlib.import_module(PRUNERS[name].split(":")[0]).GROUP
    return {"layer": [out * size], "row": [size] * out, "block": block}[group]


def stats_of(size: int, seed: int = 0) -> LayerStats:
    rows = torch.randn(3 * size, size, generator=torch.Generator().manual_seed(seed))
    return collect(rows, gram=True)


@pytest.fixture(params=sorted(PRUNERS))
def pruner(request: pytest.FixtureRequest) -> Pruner:
    return load(request.param)


@pytest.mark.parametrize("name", sorted(PRUNERS))
@given(shape=SHAPES, levels=LEVELS, dtype=DTYPES, seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_exact_count_consistency_and_no_mutation(
    name: str, shape: tuple[int, int], levels: list[float], dtype: torch.dtype, seed: int
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    before = weight.clone()
    stats = stats_of(shape[1], seed % 7)
    known = stats.squares.clone(), stats.gram.clone()
    found = load(name)(weight, stats, levels, seed)
    assert torch.equal(weight, before)
    assert torch.equal(stats.squares, known[0]) and torch.equal(stats.gram, known[1])
    for level, pruned in zip(levels, found, strict=True):
        wanted = [int(level * size + 0.5 + 1e-6) for size in group_sizes(name, shape)]
        assert int((~pruned.keep).sum()) == sum(wanted)
        assert pruned.keep.dtype == torch.bool and pruned.keep.shape == weight.shape
        assert pruned.weight.dtype == dtype and not pruned.weight[~pruned.keep].any()
        if name != "sparsegpt":
            assert torch.equal(pruned.weight[pruned.keep], weight[pruned.keep])


def test_same_seed_same_mask(pruner: Pruner) -> None:
    weight = torch.randn(8, 9, generator=torch.Generator().manual_seed(1))
    first, second = (pruner(weight, stats_of(9), [0.4], 7)[0] for _ in range(2))
    assert torch.equal(first.keep, second.keep) and torch.equal(first.weight, second.weight)


def test_nothing_and_everything(pruner: Pruner) -> None:
    weight = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    nothing, everything = pruner(weight, stats_of(6), [0.0, 1.0], 0)
    assert torch.equal(nothing.weight, weight) and nothing.keep.all()
    assert not everything.weight.any() and not everything.keep.any()


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_levels_together_equal_levels_alone_and_nest(name: str) -> None:
    pruner = load(name)
    weight = torch.randn(12, 7, generator=torch.Generator().manual_seed(2))
    together = pruner(weight, stats_of(7), [0.1, 0.5, 0.9], 3)
    alone = [pruner(weight, stats_of(7), [s], 3)[0] for s in (0.1, 0.5, 0.9)]
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(together, alone, strict=True))
    if name == "sparsegpt":  # its scores depend on what has been pruned before
        return
    assert not (together[1].keep & ~together[0].keep).any() and not (together[2].keep & ~together[1].keep).any()


def test_view_that_is_not_contiguous(pruner: Pruner) -> None:
    weight = torch.randn(9, 12, generator=torch.Generator().manual_seed(4)).T
    assert not weight.is_contiguous()
    view, plain = (pruner(w, stats_of(9), [0.3], 5)[0] for w in (weight, weight.contiguous()))
    assert torch.equal(view.keep, plain.keep) and torch.equal(view.weight, plain.weight)


@pytest.mark.parametrize("pattern", [Pattern(2, 4), Pattern(4, 8), Pattern(1, 4)], ids=str)
def test_pattern_keeps_as_many_of_every_group(pruner: Pruner, pattern: Pattern) -> None:
    weight = torch.randn(5, 24, generator=torch.Generator().manual_seed(6))
    levels: list[Level] = [pattern, 0.5]
    found = pruner(weight, stats_of(24), levels, 3)[0]
    assert (found.keep.view(-1, pattern.of).sum(1) == pattern.kept).all()
    assert not found.weight[~found.keep].any()
    with pytest.raises(ValueError, match="does not divide"):
        pruner(weight[:, :-1], stats_of(23), [pattern], 3)


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 1)])
def test_one_row_and_one_column(pruner: Pruner, shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(8))
    for pruned in pruner(weight, stats_of(shape[1]), [0.0, 0.25, 0.5, 1.0], 3):
        assert pruned.keep.shape == shape and not pruned.weight[~pruned.keep].any()


def test_equal_weights_are_still_pruned_by_count(pruner: Pruner) -> None:
    keep = pruner(torch.ones(4, 10), collect(torch.eye(10), gram=True), [0.3], 3)[0].keep
    assert keep.sum() == 28


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_is_refused(pruner: Pruner, bad: float) -> None:
    weight = torch.ones(3, 3)
    weight[1, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        pruner(weight, stats_of(3), [0.5], 0)


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_sparsity_outside_is_refused(pruner: Pruner, bad: float) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        pruner(torch.ones(3, 3), stats_of(3), [bad], 0)
