"""What holds for every method in `PRUNERS`; a new line there is tested unasked."""

from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners import PRUNERS
from pruners.types import Pruner

SHAPES = st.tuples(st.integers(1, 17), st.integers(1, 17))
LEVELS = st.lists(st.floats(0, 1), min_size=1, max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


def load(name: str) -> Pruner:
    module, function = PRUNERS[name].split(":")
    return getattr(importlib.import_module(module), function)


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
    found = load(name)(weight, None, levels, seed)
    assert torch.equal(weight, before)
    for level, pruned in zip(levels, found, strict=True):
        assert abs(int((~pruned.keep).sum()) - level * weight.numel()) <= 0.5 + 1e-6
        assert pruned.keep.dtype == torch.bool and pruned.keep.shape == weight.shape
        assert pruned.weight.dtype == dtype and not pruned.weight[~pruned.keep].any()
        assert torch.equal(pruned.weight[pruned.keep], weight[pruned.keep])


def test_same_seed_same_mask(pruner: Pruner) -> None:
    weight = torch.randn(8, 9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(pruner(weight, None, [0.4], 7)[0].keep, pruner(weight, None, [0.4], 7)[0].keep)


def test_nothing_and_everything(pruner: Pruner) -> None:
    weight = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    nothing, everything = pruner(weight, None, [0.0, 1.0], 0)
    assert torch.equal(nothing.weight, weight) and nothing.keep.all()
    assert not everything.weight.any() and not everything.keep.any()


def test_levels_together_equal_levels_alone_and_nest(pruner: Pruner) -> None:
    weight = torch.randn(12, 7, generator=torch.Generator().manual_seed(2))
    together = pruner(weight, None, [0.1, 0.5, 0.9], 3)
    alone = [pruner(weight, None, [s], 3)[0] for s in (0.1, 0.5, 0.9)]
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(together, alone, strict=True))
    assert not (together[1].keep & ~together[0].keep).any() and not (together[2].keep & ~together[1].keep).any()


def test_view_that_is_not_contiguous(pruner: Pruner) -> None:
    weight = torch.randn(9, 12, generator=torch.Generator().manual_seed(4)).T
    assert not weight.is_contiguous()
    assert torch.equal(pruner(weight, None, [0.3], 5)[0].keep, pruner(weight.contiguous(), None, [0.3], 5)[0].keep)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_is_refused(pruner: Pruner, bad: float) -> None:
    weight = torch.ones(3, 3)
    weight[1, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        pruner(weight, None, [0.5], 0)


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_sparsity_outside_is_refused(pruner: Pruner, bad: float) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        pruner(torch.ones(3, 3), None, [bad], 0)
