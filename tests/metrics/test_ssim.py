"""SSIM against a slow loop over every place of a picture, and what it must not do."""

from __future__ import annotations

import math

import pytest
from torch import Tensor

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.metrics.ssim import WINDOW, ssim
from tests.metrics.samples import noisy, pair

SIGMA, K1, K2, RANGE = 1.5, 0.01, 0.03, 255


def mirrored(i: int, length: int) -> int:
    """Return the place that a window sees at place i of a line, which may lie outside: the edge is a mirror."""
    i = abs(i)
    return i if i < length else 2 * (length - 1) - i


def slow(a: Tensor, b: Tensor) -> float:
    """Return the mean over channels and places of equation 13 of Wang et al. (2004), in Python's numbers."""
    weights = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    weights = [w / sum(weights) for w in weights]
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    total, half = 0.0, WINDOW // 2
    channels, height, width = a.shape
    first, second = a.tolist(), b.tolist()
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                ma = mb = aa = bb = ab = 0.0
                for i in range(WINDOW):
                    for j in range(WINDOW):
                        w = weights[i] * weights[j]
                        place = mirrored(y + i - half, height), mirrored(x + j - half, width)
                        p, q = first[c][place[0]][place[1]], second[c][place[0]][place[1]]
                        ma, mb, aa, bb, ab = ma + w * p, mb + w * q, aa + w * p * p, bb + w * q * q, ab + w * p * q
                va, vb, covariance = aa - ma * ma, bb - mb * mb, ab - ma * mb
                total += (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return total / (channels * height * width)


def test_ssim_equals_a_loop_over_every_place() -> None:
    dense, own = noisy(4, 13, 60)
    expected = [slow(own[i], dense[i]) for i in range(4)]
    assert expected[0] == pytest.approx(1) and expected[3] < 0.9
    assert ssim(own, dense).tolist() == pytest.approx(expected, abs=2e-4)


def test_the_metric_is_the_mean_over_captions_however_many_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dense, own = noisy(7, 20, 60)
    whole = METRICS["ssim"].compute(pair(own, dense))
    assert whole.paired.tolist() == pytest.approx(ssim(own, dense).tolist(), abs=1e-6)
    assert whole.figure.value == pytest.approx(whole.paired.mean().item()) and whole.figure.n == 7
    monkeypatch.setattr("harness.metrics.pairs.AT_ONCE", 2 * own[0].numel())
    parts = METRICS["ssim"].compute(pair(own, dense))
    assert parts.paired.tolist() == pytest.approx(whole.paired.tolist(), abs=1e-6)
    grouped = METRICS["ssim"].compute(pair(own, dense, [0, 0, 1, 1, 2, 2, 3]))
    assert grouped.figure.n == 4 and grouped.paired[0] == pytest.approx(whole.paired[:2].mean().item())


def test_a_picture_that_holds_no_window_is_refused() -> None:
    assert len(ssim(*noisy(2, WINDOW, 9))) == 2
    dense, own = noisy(2, WINDOW - 1, 9)
    with pytest.raises(HarnessError, match="--metrics ssim needs pictures of 11 × 11 or more, and these are 10 × 13"):
        METRICS["ssim"].compute(pair(own, dense))


@pytest.mark.parametrize("name", ["ssim", "psnr"])
def test_pictures_of_another_shape_do_not_pair(name: str) -> None:
    dense, own = noisy(3, 16, 9)
    for other in (own[:2], own[:, :, :12]):
        with pytest.raises(HarnessError, match=f"--metrics {name} pairs pictures by caption"):
            METRICS[name].compute(pair(other, dense))
