"""The pruning core against the published order of work: same results, and how many times faster, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

SIX = (0.30, 0.40, 0.50, 0.60, 0.70, 0.80)
# Measured with AVX2 and AVX-512 kernels, one thread and two, three seeds: at most 6e-6 of the threshold.
ROUNDING = 5e-5
TEN = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90)


def compare(benchmark: Any, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, wanted: float) -> Any:
    """Time both in turns, keep the ratio of medians in `extra_info`, and fail below the wanted ratio.

    Args:
        benchmark: The fixture of pytest-benchmark.
        ours: Runs our implementation.
        theirs: Runs the published order of work.
        rounds: How often each is timed.
        wanted: The smallest ratio of their time to ours.

    Returns:
        The results of both.
    """
    result, reference = ours(), theirs()
    times: list[float] = []

    def setup() -> None:
        start = time.perf_counter()
        theirs()
        times.append(time.perf_counter() - start)

    benchmark.pedantic(ours, setup=setup, rounds=rounds, iterations=1)
    ratio = statistics.median(times) / benchmark.stats.stats.median
    benchmark.extra_info.update(published_seconds=statistics.median(times), ratio=ratio, wanted=wanted)
    assert ratio >= wanted, f"{ratio:.2f} times as fast as the published order of work, wanted {wanted}"
    return result, reference


@pytest.fixture(autouse=True)
def _timed(benchmark: Any) -> None:
    if not benchmark.enabled:
        pytest.skip("timing is switched off (-n, --benchmark-disable)")


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1280, 1280), 4.5), ((320, 2880), 8.0)],
    ids=["1280x1280", "320x2880"],
)
def test_sparsegpt_sweep(benchmark: Any, shape: tuple[int, int], wanted: float) -> None:
    """Six levels at once against six runs of the published column loop.

    Masks are equal up to the first weights that rounding may swap, and the reconstruction is the same.
    """
    import torch

    from benchmarks import published
    from pruners.sparsegpt import prune
    from pruners.stats import collect

    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=rng) / shape[1] ** 0.5
    mixing = torch.randn(shape[1], shape[1], generator=rng) / shape[1] ** 0.5
    stats = collect(torch.randn(2 * shape[1], shape[1], generator=rng) @ mixing, gram=True)
    assert stats.gram is not None
    gram = stats.gram[0]
    ours, reference = compare(
        benchmark,
        lambda: prune(weight, stats, SIX, 0),
        lambda: [published.sparsegpt(weight, gram, level) for level in SIX],
        3,
        wanted,
    )
    for level, pruned, (keep, new) in zip(SIX, ours, reference, strict=True):
        if not torch.equal(pruned.keep, keep):
            assert published.first_difference(weight, gram, level, pruned.keep) < ROUNDING
        own, theirs = (float(((w - weight) @ gram * (w - weight)).sum()) for w in (pruned.weight, new))
        assert own <= 1.001 * theirs


def test_factorisation(benchmark: Any) -> None:
    """One Cholesky of the reversed matrix against the published factor, invert, factor, at n = 2880."""
    import torch

    from benchmarks import published
    from pruners.sparsegpt import DAMPING, factor

    rows = torch.randn(6000, 2880, generator=torch.Generator().manual_seed(0))
    gram = rows.T @ rows
    damped = gram + DAMPING * gram.diagonal().mean() * torch.eye(2880)
    ours, reference = compare(benchmark, lambda: factor(gram), lambda: published.factor(damped), 9, 3.0)
    torch.testing.assert_close(reference @ ours, torch.eye(2880), atol=1e-3, rtol=0)


def test_ten_wanda_levels(benchmark: Any) -> None:
    """One ranking for ten levels against ten sorts, on a layer of 1280×11520."""
    import torch

    from benchmarks import published
    from pruners.types import LayerStats
    from pruners.wanda import prune

    rng = torch.Generator().manual_seed(0)
    weight, squares = torch.randn(1280, 11520, generator=rng), torch.rand(11520, generator=rng)
    stats = LayerStats(1, squares.double()[None])
    ours, reference = compare(
        benchmark,
        lambda: prune(weight, stats, TEN, 0),
        lambda: [published.wanda(weight, squares, level) for level in TEN],
        3,
        7.0,
    )
    for pruned, (keep, _) in zip(ours, reference, strict=True):
        assert torch.equal(pruned.keep, keep)


def test_wanda_pattern(benchmark: Any) -> None:
    """2:4 for all groups at once against one selection per group of columns, on a layer of 1280×2880."""
    import torch

    from benchmarks import published
    from pruners.levels import Pattern
    from pruners.types import LayerStats
    from pruners.wanda import prune

    rng = torch.Generator().manual_seed(0)
    weight, squares = torch.randn(1280, 2880, generator=rng), torch.rand(2880, generator=rng)
    stats = LayerStats(1, squares.double()[None])
    (ours,), (keep, _) = compare(
        benchmark,
        lambda: prune(weight, stats, [Pattern(2, 4)], 0),
        lambda: published.wanda_pattern(weight, squares, 2, 4),
        9,
        2.0,
    )
    assert torch.equal(ours.keep, keep)


def test_swaps(benchmark: Any) -> None:
    """Swaps of all rows at once against one row after the other and all pairs, on 64×256; as small an error."""
    import torch

    from benchmarks import published
    from pruners import wanda
    from pruners.stats import collect
    from pruners.swaps import ROUNDS, refine

    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 256, generator=rng) / 256**0.5
    mixing = torch.randn(256, 256, generator=rng) / 256**0.5
    stats = collect(torch.randn(512, 256, generator=rng) @ mixing, gram=True)
    assert stats.gram is not None
    gram, start = stats.gram[0], wanda.prune(weight, stats, [0.5], 0)
    ours, reference = compare(
        benchmark,
        lambda: refine(weight, stats, [0.5], start)[0].keep,
        lambda: published.swaps(weight, gram, start[0].keep, ROUNDS),
        1,
        5.0,
    )
    own, theirs, before = (
        float(((weight * ~keep) @ gram * (weight * ~keep)).sum()) for keep in (ours, reference, start[0].keep)
    )
    assert own <= 1.02 * theirs < 0.8 * before


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 320, 64, 64), 3.0),
        ((64, 64, 16, 16), 0.95),
        ((64, 96, 8, 8), 0.95),
        ((64, 128, 4, 4), 0.95),
        # At seven milliseconds, sums of squares in float64 and the noise of the clock matter as much as the limit.
        pytest.param((8, 128, 8, 8), 0.95, marks=pytest.mark.xfail(reason="0.84 to 1.01", raises=AssertionError)),
        ((2, 1280, 8, 8), 0.95),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_gram_of_a_convolution(benchmark: Any, shape: tuple[int, ...], wanted: float) -> None:
    """The Gram matrix of 3×3 patches against unfold and multiply: faster where large, never slower where small."""
    import torch

    from benchmarks import published
    from harness.surgery.inputs import statistics as of_input

    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Conv2d(shape[1], 1, 3, padding=1)
    ours, reference = compare(
        benchmark, lambda: of_input(layer, x, True), lambda: published.gram(x), 15 if x.numel() < 2**18 else 5, wanted
    )
    torch.testing.assert_close(ours.gram[0], reference, atol=1e-3 * float(reference.abs().max()), rtol=0)
