"""What every method promises, held against its own entry: a new entry is tested unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruners import METHODS, Method
from pruners.levels import Level, Pattern
from pruners.select import masked, smallest_pruned
from pruners.stats import collect
from pruners.types import LayerStats, Pruned

SHAPES = st.tuples(st.integers(1, 17), st.integers(1, 17))
LEVELS = st.lists(st.floats(0, 1), min_size=1, max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


def by_column_sums(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    """A user's method: rows of `|w|` over the sum of its column."""
    scores = weight.detach().abs().float()
    return [masked(weight, keep) for keep in smallest_pruned(scores / (scores.sum(0) + 1e-6), levels)]


# A method from outside is held to the same.
ALL = (*METHODS.values(), Method("outside", by_column_sums, "row", "for this test"))


def group_sizes(method: Method, shape: tuple[int, int]) -> list[int]:
    """Return the sizes of the comparison groups in a matrix `[out, in]`, from what the entry says."""
    out, size = shape
    block = [out * min(128, size - first) for first in range(0, size, 128)]
    return {"layer": [out * size], "row": [size] * out, "block": block}[method.group]


def stats_of(method: Method, size: int, seed: int = 0) -> LayerStats | None:
    """Return what the entry says that the method needs, and no more."""
    if not method.needs:
        return None
    rows = torch.randn(3 * size, size, generator=torch.Generator().manual_seed(seed))
    return collect(rows, gram="gram" in method.needs, sums="sums" in method.needs)


def prune(method: Method, weight: Tensor, levels: Sequence[Level], seed: int = 3) -> list[Pruned]:
    return method.pruner()(weight, stats_of(method, weight.shape[1], seed % 7), levels, seed)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors(stats: LayerStats | None) -> list[Tensor]:
    return [] if stats is None else [t for t in (stats.squares, stats.gram, stats.sums) if t is not None]


def check_counts(method: Method, weight: Tensor, levels: Sequence[float], seed: int) -> None:
    """Check exact counts of every comparison group, dtypes, shapes, survivors, and that nothing given was changed."""
    before, stats = weight.clone(), stats_of(method, weight.shape[1], seed % 7)
    known = [t.clone() for t in tensors(stats)]
    found = method.pruner()(weight, stats, levels, seed)
    assert torch.equal(weight, before)
    assert all(torch.equal(a, b) for a, b in zip(tensors(stats), known, strict=True))
    for level, pruned in zip(levels, found, strict=True):
        wanted = [int(level * size + 0.5 + 1e-6) for size in group_sizes(method, tuple(weight.shape))]
        gone = ~pruned.keep
        if method.group == "row":
            assert gone.sum(1).tolist() == wanted
        else:
            assert int(gone.sum()) == sum(wanted)
        assert pruned.keep.dtype == torch.bool and pruned.keep.shape == weight.shape
        assert pruned.weight.dtype == weight.dtype and not pruned.weight[gone].any()
        if not method.moves_weights:
            assert torch.equal(pruned.weight[pruned.keep], weight[pruned.keep])


@pytest.fixture(params=ALL, ids=lambda method: method.name)
def method(request: pytest.FixtureRequest) -> Method:
    return request.param


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
@given(shape=SHAPES, levels=LEVELS, dtype=DTYPES, seed=st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_counts_are_exact_and_nothing_given_is_changed(
    method: Method, shape: tuple[int, int], levels: list[float], dtype: torch.dtype, seed: int
) -> None:
    check_counts(method, noise(*shape, seed=seed).to(dtype), levels, seed)


@pytest.mark.parametrize(("name", "lie"), [("wanda", {"group": "layer"}), ("sparsegpt", {"moves_weights": False})])
def test_an_entry_that_says_something_false_is_noticed(name: str, lie: dict[str, object]) -> None:
    """The control of the test above."""
    with pytest.raises(AssertionError):
        check_counts(replace(METHODS[name], **lie), noise(7, 9), [0.35], 3)


def test_survivors_move_where_the_entry_says_so(method: Method) -> None:
    weight = noise(12, 30)
    pruned = prune(method, weight, [0.5])[0]
    assert (not torch.equal(pruned.weight[pruned.keep], weight[pruned.keep])) == method.moves_weights


def test_the_same_seed_gives_the_same_mask(method: Method) -> None:
    first, second = (prune(method, noise(8, 9), [0.4], 7)[0] for _ in range(2))
    assert torch.equal(first.keep, second.keep) and torch.equal(first.weight, second.weight)


def test_nothing_and_everything(method: Method) -> None:
    weight = noise(5, 6)
    nothing, everything = prune(method, weight, [0.0, 1.0])
    assert torch.equal(nothing.weight, weight) and nothing.keep.all()
    assert not everything.weight.any() and not everything.keep.any()


def test_levels_together_equal_levels_alone_and_nest(method: Method) -> None:
    weight, levels = noise(12, 7, seed=2), [0.1, 0.5, 0.9]
    together = prune(method, weight, levels)
    alone = [prune(method, weight, [level])[0] for level in levels]
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(together, alone, strict=True))
    if not method.moves_weights and not method.refine:  # else what goes depends on what has gone before
        assert not (together[1].keep & ~together[0].keep).any() and not (together[2].keep & ~together[1].keep).any()


def test_a_view_that_is_not_contiguous(method: Method) -> None:
    weight = noise(9, 12, seed=4).T
    assert not weight.is_contiguous()
    view, plain = (prune(method, w, [0.3])[0] for w in (weight, weight.contiguous()))
    assert torch.equal(view.keep, plain.keep) and torch.equal(view.weight, plain.weight)


def test_a_parameter_with_a_gradient_is_pruned_like_a_tensor(method: Method) -> None:
    weight = noise(6, 12)
    plain, parameter = (prune(method, w, [0.5, Pattern(2, 4)]) for w in (weight, torch.nn.Parameter(weight.clone())))
    for one, other in zip(plain, parameter, strict=True):
        assert torch.equal(one.keep, other.keep) and torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("pattern", [Pattern(2, 4), Pattern(4, 8), Pattern(1, 4), Pattern(9, 18)], ids=str)
def test_a_pattern_keeps_as_many_of_every_group(method: Method, pattern: Pattern) -> None:
    weight = noise(5, 72, seed=6)
    pruned = prune(method, weight, [pattern, 0.5])[0]
    assert (pruned.keep.reshape(-1, pattern.of).sum(1) == pattern.kept).all()
    assert not pruned.weight[~pruned.keep].any()
    with pytest.raises(ValueError, match="does not divide"):
        prune(method, weight[:, :-1], [pattern])


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 1)])
def test_one_row_and_one_column(method: Method, shape: tuple[int, int]) -> None:
    for pruned in prune(method, noise(*shape, seed=8), [0.0, 0.25, 0.5, 1.0]):
        assert pruned.keep.shape == shape and not pruned.weight[~pruned.keep].any()


def test_equal_weights_are_still_pruned_by_count(method: Method) -> None:
    stats = collect(torch.eye(10), gram="gram" in method.needs, sums="sums" in method.needs)
    assert method.pruner()(torch.ones(4, 10), stats, [0.3], 3)[0].keep.sum() == 28


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused(name: str, bad: float) -> None:
    weight = torch.ones(3, 3)
    weight[1, 1] = bad
    with pytest.raises(ValueError, match="a weight is NaN or infinite"):
        prune(METHODS[name], weight, [0.5])


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_a_sparsity_outside_is_refused(method: Method, bad: float) -> None:
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        prune(method, torch.ones(3, 3), [bad])


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.ones(4, 4).to(torch.float8_e4m3fn), "its weight is float8_e4m3fn; load the pipeline in float16"),
        (torch.ones(4, 4, dtype=torch.int8), "its weight is int8"),
        (torch.ones(0, 4), r"has the shape \(0, 4\)"),
        (torch.ones(4, 4, 3), r"has the shape \(4, 4, 3\)"),
    ],
    ids=["float8", "int8", "empty", "convolution"],
)
def test_a_weight_that_no_method_can_prune_is_one_message(name: str, weight: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        METHODS[name].pruner()(weight, stats_of(METHODS[name], 4), [0.5], 0)
