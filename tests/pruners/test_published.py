"""The core against the order of work of the published code, and against the rule of the reference study."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import published
from pruners import magnitude, sparsegpt, wanda
from pruners.levels import Pattern
from pruners.stats import collect
from pruners.types import LayerStats


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def weight() -> Tensor:
    return noise(24, 200, seed=1)


@pytest.fixture(scope="module")
def stats() -> LayerStats:
    return collect(noise(500, 200, seed=2) @ noise(200, 200, seed=3), gram=True)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_sparsegpt_is_the_published_loop(weight: Tensor, stats: LayerStats, sparsity: float) -> None:
    pruned = sparsegpt.prune(weight, stats, [sparsity], 0)[0]
    keep, new = published.sparsegpt(weight, stats.gram[0], sparsity)
    assert torch.equal(pruned.keep, keep)
    torch.testing.assert_close(pruned.weight, new, atol=1e-10, rtol=0)


def test_a_difference_by_rounding_is_told_from_another_rule(weight: Tensor, stats: LayerStats) -> None:
    """In float32 any first difference is within rounding; with other damping it is not."""
    single, gram = weight.float(), stats.gram[0].float()
    ours = sparsegpt.prune(single, LayerStats(stats.rows, stats.squares, gram[None]), [0.5], 0)[0]
    assert published.first_difference(single, gram, 0.5, ours.keep) < 5e-5
    damped = gram + 0.05 * gram.diagonal().mean() * torch.eye(200)
    other, _ = published.sparsegpt(single, damped, 0.5)
    assert published.first_difference(single, gram, 0.5, other) > 1e-3
    swapped = ours.keep.clone()
    swapped[0, 3] ^= True
    assert published.first_difference(single, gram, 0.5, swapped) > 1e-3


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_wanda_is_the_published_sort(weight: Tensor, stats: LayerStats, sparsity: float) -> None:
    pruned = wanda.prune(weight, stats, [sparsity], 0)[0]
    keep, new = published.wanda(weight, stats.squares[0], sparsity)
    assert torch.equal(pruned.keep, keep) and torch.equal(pruned.weight, new)


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (4, 8)])
def test_wanda_s_pattern_is_the_published_loop(weight: Tensor, stats: LayerStats, kept: int, of: int) -> None:
    pruned = wanda.prune(weight, stats, [Pattern(kept, of)], 0)[0]
    keep, new = published.wanda_pattern(weight, stats.squares[0], kept, of)
    assert torch.equal(pruned.keep, keep) and torch.equal(pruned.weight, new)


def test_magnitude_differs_from_the_study_s_code_where_the_documentation_says_so() -> None:
    weight = noise(9, 11, seed=4)
    n = weight.numel()

    def gone(keep: Tensor) -> int:
        return int((~keep).sum())

    for k in (1, 7, 50, n):
        keep = published.study_magnitude(weight, k / n + 1e-9)
        assert torch.equal(keep, magnitude.prune(weight, None, [k / n], 0)[0].keep) and gone(keep) == k
    # Below one weight the index is -1, the largest of all: everything goes.
    assert gone(published.study_magnitude(weight, 0.9 / n)) == n
    assert gone(magnitude.prune(weight, None, [0.4 / n], 0)[0].keep) == 0
    # All ties go.
    assert gone(published.study_magnitude(torch.ones(4, 5), 0.5)) == 20
    assert gone(magnitude.prune(torch.ones(4, 5), None, [0.5], 0)[0].keep) == 10
