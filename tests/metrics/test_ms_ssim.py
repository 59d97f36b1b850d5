"""MS-SSIM against its definition, computed with scipy in float64."""

from __future__ import annotations

import math

import numpy
import pytest
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.metrics.ms_ssim import LEAST, ms_ssim
from tests.metrics.samples import noisy, pair

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
Picture = NDArray[numpy.float64]


def blurred(x: Picture) -> Picture:
    weights = numpy.exp(-(numpy.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    across = correlate1d(x, weights, axis=-1, mode="mirror")
    return numpy.asarray(correlate1d(across, weights, axis=-2, mode="mirror"))


def parts(a: Picture, b: Picture) -> tuple[float, float]:
    """Return the mean of SSIM over all places, and of contrast times structure over the places of whole windows."""
    ma, mb = blurred(a), blurred(b)
    va, vb, both = blurred(a * a) - ma**2, blurred(b * b) - mb**2, blurred(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * both + c2) / (va + vb + c2)
    similar = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * structure
    return float(similar.mean()), float(structure[:, 5:-5, 5:-5].mean())


def halved(x: Picture) -> Picture:
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def slow(a: Picture, b: Picture) -> float:
    value = 1.0
    for scale, exponent in enumerate(EXPONENTS):
        similar, structure = parts(a, b)
        value *= (similar if scale == 4 else structure) ** exponent
        a, b = halved(a), halved(b)
    return value


def test_ms_ssim_is_its_definition() -> None:
    dense, own = noisy(4, LEAST, 90)
    ours = ms_ssim(own, dense).tolist()
    expected = [slow(own[i].double().numpy(), dense[i].double().numpy()) for i in range(4)]
    assert expected[0] == pytest.approx(1) and expected[3] < 0.95
    assert ours == pytest.approx(expected, abs=1e-5)
    assert METRICS["ms_ssim"].compute(pair(own, dense)).paired.tolist() == pytest.approx(ours, abs=1e-6)


def test_pictures_that_are_too_small_are_refused() -> None:
    assert math.isfinite(float(ms_ssim(*noisy(1, LEAST, 9))))
    dense, own = noisy(2, LEAST - 1, 9)
    with pytest.raises(HarnessError, match="--metrics ms_ssim needs pictures of 176 × 176 or more"):
        METRICS["ms_ssim"].compute(pair(own, dense))
