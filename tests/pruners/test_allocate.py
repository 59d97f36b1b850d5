"""Allocations: totals are exact, order follows outliers, and the published formula holds where it is defined."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners.allocate import by_global_threshold, outliers, owl
from pruners.select import count, smallest_pruned


@given(
    shares=st.lists(st.floats(0, 100), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 10**6), min_size=8, max_size=8),
    sparsity=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_owl_total_is_the_sparsity_asked_for(shares: list[float], sizes: list[int], sparsity: float) -> None:
    names = [str(i) for i in range(len(shares))]
    size = dict(zip(names, sizes, strict=False))
    found = owl(dict(zip(names, shares, strict=True)), size, sparsity)
    total = sum(found[n] * size[n] for n in names) / sum(size[n] for n in names)
    assert total == pytest.approx(sparsity, abs=1e-9)
    assert all(0 <= s <= 1 for s in found.values())
    assert max(found.values()) - min(found.values()) <= 0.16 + 1e-9
    ranked = sorted(names, key=lambda n: shares[int(n)])
    assert all(found[a] >= found[b] - 1e-12 for a, b in pairwise(ranked))


def test_owl_is_the_published_formula_for_blocks_of_one_size() -> None:
    shares = {"a": 1.0, "b": 4.0, "c": 2.5}
    found = owl(shares, dict.fromkeys(shares, 10), 0.7)
    lifts = [(share - 1) / 3 * 0.16 for share in shares.values()]
    wanted = [1 - (lift - sum(lifts) / 3 + 0.3) for lift in lifts]
    assert list(found.values()) == pytest.approx(wanted)


def test_outliers_are_counted_over_the_whole_block() -> None:
    first, second = torch.ones(3, 10), torch.ones(2, 10)
    second[0, 0] = second[1, 1] = 400.0
    assert outliers([first, second]) == pytest.approx(4.0)
    assert outliers([first]) == 0.0


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


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted a number from 0 to 1"):
        owl({"a": 1.0}, {"a": 3}, 1.5)
    with pytest.raises(ValueError, match="NaN or infinite"):
        by_global_threshold({"a": torch.tensor([1.0, float("nan")])}, 0.5)
