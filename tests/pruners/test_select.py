"""From scores to masks, against plain sorting in Python and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners.levels import Level, Pattern
from pruners.select import COUNTED_FROM, PAIRS_UP_TO, count, kth_smallest, pattern_keep, ranks, smallest_pruned
from tests.reference import wanda as slow

FEW = st.integers(-3, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    st.integers(1, 300),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.sampled_from([1e-40, 1e-3, 1.0, 1e30]),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_the_kth_smallest_is_what_sorting_finds(
    dtype: torch.dtype, n: int, shares: list[float], scale: float, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(len(shares), n, generator=rng, dtype=dtype).square()
    scores[:, torch.rand(n, generator=rng) < 0.2] = -1
    scores[:, torch.rand(n, generator=rng) < 0.2] = 0
    ks = [round(share * n) for share in shares]
    found = kth_smallest(scores, ks)
    for row, k, value in zip(scores.sort().values, ks, found, strict=True):
        assert value == (row[k - 1] if k else -torch.inf)


@given(st.decimals(0, 1, places=4), st.integers(1, 10**6))
@settings(max_examples=300, deadline=None)
def test_counts_round_halves_up_like_exact_fractions(sparsity: object, size: int) -> None:
    assert count(float(str(sparsity)), size) == int(Fraction(str(sparsity)) * size + Fraction(1, 2))


@given(
    size=st.integers(1, 12),
    levels=st.lists(st.sampled_from(["0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"]), min_size=1, max_size=6),
    values=st.lists(FEW, min_size=36, max_size=36),
)
@settings(max_examples=150, deadline=None)
def test_masks_equal_the_reference_with_ties(size: int, levels: list[str], values: list[int]) -> None:
    """Three sparsities are selected, more of them are sorted once; scores of seven values tie everywhere."""
    table = [[float(v) for v in values[12 * i : 12 * i + size]] for i in range(3)]
    for level, keep in zip(levels, smallest_pruned(torch.tensor(table), [float(s) for s in levels]), strict=True):
        assert keep.tolist() == slow.keep(table, level)


@given(
    of=st.integers(2, PAIRS_UP_TO + 3),
    kept=st.integers(1, PAIRS_UP_TO + 2),
    values=st.lists(FEW, min_size=4 * (PAIRS_UP_TO + 3), max_size=4 * (PAIRS_UP_TO + 3)),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
@settings(max_examples=200, deadline=None)
def test_patterns_equal_the_reference_with_ties(of: int, kept: int, values: list[int], dtype: torch.dtype) -> None:
    kept = min(kept, of - 1)
    table = [[float(v) for v in values[2 * of * i : 2 * of * (i + 1)]] for i in range(2)]
    levels: list[Level] = [Pattern(kept, of)]
    found = smallest_pruned(torch.tensor(table, dtype=dtype), levels)[0]
    assert found.tolist() == slow.keep_pattern(table, kept, of)


@pytest.mark.parametrize("of", [4, 8, 16])
def test_comparing_pairs_gives_what_sorting_gives(of: int) -> None:
    scores = torch.randn(of, 5000, generator=torch.Generator().manual_seed(of)).round(decimals=1)
    for kept in range(1, of):
        assert torch.equal(pattern_keep(scores, kept), (ranks(scores.T) >= of - kept).T)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    scores = torch.ones(2, 4)
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="a score is NaN or infinite"):
        smallest_pruned(scores, [0.5])
    scores[0, 0] = -bad
    with pytest.raises(ValueError, match="a score is NaN or infinite"):
        smallest_pruned(scores, [Pattern(2, 4)])


def test_a_pattern_that_keeps_all_or_nothing_is_refused() -> None:
    for kept, of in ((0, 4), (4, 4), (5, 4)):
        with pytest.raises(ValueError, match="keeps all or nothing; use n:m"):
            Pattern(kept, of)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("ties", [False, True])
def test_a_long_row_is_pruned_as_a_sort_prunes_it(dtype: torch.dtype, ties: bool) -> None:
    """Long rows take another way to the limit. The reference is a stable sort."""
    scores = torch.rand(1, COUNTED_FROM, generator=torch.Generator().manual_seed(3)).to(dtype)
    if ties:
        scores = (scores * 50).round()
    order = scores.argsort(dim=1, stable=True)
    for level, keep in zip((0.1, 0.5, 0.99), smallest_pruned(scores, (0.1, 0.5, 0.99)), strict=True):
        gone = order[0, : count(level, COUNTED_FROM)]
        wanted = torch.ones(COUNTED_FROM, dtype=torch.bool).index_fill_(0, gone, False)
        assert torch.equal(keep[0], wanted)
