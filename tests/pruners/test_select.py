"""`kth_smallest` against a full sort."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners.select import kth_smallest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    st.integers(1, 300),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.sampled_from([1e-40, 1e-3, 1.0, 1e30]),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_it_is_what_sorting_finds(dtype: torch.dtype, n: int, shares: list[float], scale: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(len(shares), n, generator=rng, dtype=dtype).square()
    scores[:, torch.rand(n, generator=rng) < 0.2] = -1
    scores[:, torch.rand(n, generator=rng) < 0.2] = 0
    ks = [round(share * n) for share in shares]
    found = kth_smallest(scores, ks)
    for row, k, value in zip(scores.sort().values, ks, found, strict=True):
        assert value == (row[k - 1] if k else -torch.inf)
