"""Drift against cosines by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from harness.errors import HarnessError
from harness.metrics.drift import drift


def test_drift_is_one_less_the_cosine_with_all_its_digits() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (normalize(torch.randn(7, 20, generator=rng, dtype=torch.float64)) for _ in "ab")
    for i, moved in enumerate(drift(a, b).tolist()):
        cos = sum(x * y for x, y in zip(a[i].tolist(), b[i].tolist(), strict=True))
        assert moved == pytest.approx(100 * (1 - cos), abs=1e-10)
    assert drift(a, a).tolist() == [0.0] * 7
    near = normalize(a + 1e-9 * b)
    assert 0 < float(drift(near, a).max()) < 1e-14


def test_sets_of_different_size_do_not_pair() -> None:
    with pytest.raises(HarnessError, match="drift pairs pictures by caption: there are 7 pictures and 3 dense ones"):
        drift(torch.zeros(7, 2), torch.zeros(3, 2))
