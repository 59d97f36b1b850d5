"""CMMD against a loop over all pairs and against the authors' formula, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.errors import HarnessError
from harness.metrics import METRICS, frechet, kid
from harness.metrics.cmmd import cmmd
from harness.metrics.mmd import halves
from harness.metrics.reference import Reference
from tests.metrics.features import drawn
from tests.metrics.samples import evidence, sample


def k(x: list[float], y: list[float]) -> float:
    lengths = math.hypot(*x), math.hypot(*y)
    return math.exp(-sum((a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(x, y, strict=True)) / 200)


def slow(ours: Tensor, theirs: Tensor) -> float:
    """Return the unbiased estimate of the squared distance, in Python's numbers."""
    x, y = ours.tolist(), theirs.tolist()
    n, m = len(x), len(y)
    inside = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    inside += sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return 1000 * (inside - 2 * sum(k(a, b) for a in x for b in y) / (n * m))


def authors(x: Tensor, y: Tensor) -> float:
    """Return the distance as google-research/cmmd/distance.py writes it: with the pairs of a picture with itself."""
    x, y = normalize(x), normalize(y)
    gamma = 1 / (2 * 10**2)
    x_sq, y_sq = (x @ x.T).diag(), (y @ y.T).diag()
    k_xx = torch.exp(-gamma * (-2 * x @ x.T + x_sq[:, None] + x_sq[None, :])).mean()
    k_xy = torch.exp(-gamma * (-2 * x @ y.T + x_sq[:, None] + y_sq[None, :])).mean()
    k_yy = torch.exp(-gamma * (-2 * y @ y.T + y_sq[:, None] + y_sq[None, :])).mean()
    return float(1000 * (k_xx + k_yy - 2 * k_xy))


def test_cmmd_equals_a_loop_over_all_pairs() -> None:
    ours, theirs = drawn(20, 0.8, 1), drawn(30, 0.0, 2)
    value, resamples = cmmd(ours, kid.reference(theirs))
    assert value == pytest.approx(slow(ours, theirs), rel=1e-9)
    assert resamples[17].item() == pytest.approx(slow(ours[halves(20)[17]], theirs), rel=1e-9)


def test_cmmd_is_the_authors_without_the_pairs_of_a_picture_with_itself() -> None:
    ours, theirs = drawn(600, 0.8, 1), drawn(700, 0.0, 2)
    ref = kid.reference(theirs)
    value, _ = cmmd(3 * ours, ref)
    # A pair of a picture with itself has the kernel 1: with it, the mean is moved by a share 1/n towards 1.
    units = normalize(ours), normalize(theirs)
    means = [float(torch.exp(-(torch.cdist(u, u) ** 2) / 200).sum() - len(u)) / (len(u) * (len(u) - 1)) for u in units]
    shift = 1000 * sum((1 - mean) / len(u) for mean, u in zip(means, units, strict=True))
    assert value + shift == pytest.approx(authors(ours, theirs), rel=1e-6) and 0 < shift < value


def test_the_metric_takes_the_scorer_s_vectors_and_no_others() -> None:
    real = evidence(40, 2).features
    reference = Reference(frechet.reference(*frechet.summarise(real), 40), kid.reference(real), "digest")
    own = evidence(20, 1)
    made = replace(sample(own, own), reference=reference)
    with pytest.raises(HarnessError, match="--metrics cmmd compares vectors of the scorer's CLIP"):
        METRICS["cmmd"].compute(made)
    same = replace(own, embeddings=normalize(own.features))
    values = METRICS["cmmd"].compute(replace(made, own=same))
    assert values.figure.value == pytest.approx(slow(own.features, real), rel=1e-6)
    assert values.figure.n == 20 and values.figure.se == pytest.approx(values.paired.std().item())
    with pytest.raises(HarnessError, match="cmmd needs the features of reference pictures"):
        METRICS["cmmd"].compute(sample(same, same))
    few = replace(same, features=same.features[:3], embeddings=same.embeddings[:3])
    with pytest.raises(HarnessError, match="CMMD needs at least four pictures"):
        METRICS["cmmd"].compute(replace(made, own=few))
