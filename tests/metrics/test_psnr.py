"""PSNR against its formula in Python's numbers, and the limit for equal pictures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.metrics import METRICS
from harness.metrics.psnr import psnr
from tests.metrics.samples import noisy, pair


def slow(a: Tensor, b: Tensor) -> float:
    errors = [(x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def test_psnr_equals_the_formula() -> None:
    dense, own = noisy(5, 24, 60)
    assert psnr(own, dense)[1:].tolist() == pytest.approx([slow(own[i], dense[i]) for i in range(1, 5)], abs=1e-5)
    values = METRICS["psnr"].compute(pair(own, dense))
    assert torch.equal(values.paired, psnr(own, dense)) and values.figure.value == pytest.approx(values.paired.mean())


def test_equal_pictures_count_as_if_one_value_differed_by_one_step() -> None:
    dense = torch.full((3, 3, 8, 8), 100, dtype=torch.uint8)
    own = dense.clone()
    own[1, 2, 7, 7] = 101
    own[2, 2, 7, 7] = 102
    equal, one, two = psnr(own, dense).tolist()
    assert equal == pytest.approx(10 * math.log10(255**2 * 192), abs=1e-5) and one == pytest.approx(equal, abs=1e-5)
    assert two == pytest.approx(equal - 10 * math.log10(4), abs=1e-5)


def test_every_pair_is_finite_however_different() -> None:
    black, white = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    assert psnr(black, white).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
