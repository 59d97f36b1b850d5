"""From one value per picture to a figure: how groups and shares are counted."""

from __future__ import annotations

import pytest
import torch

from harness.errors import HarnessError
from harness.measurement import mean, share
from harness.metrics.values import by_caption, by_resample


def test_numbers_get_the_error_of_a_mean_and_bools_that_of_a_share() -> None:
    numbers = torch.tensor([1.0, 2.0, 4.0])
    values = by_caption(numbers, None)
    assert values.figure == mean(numbers) and values.paired.tolist() == [1.0, 2.0, 4.0]
    hits = torch.tensor([True, True, True])
    values = by_caption(hits, None)
    assert values.figure == share(hits) and values.figure.se > 0
    assert values.paired.tolist() == [1.0, 1.0, 1.0] and values.paired.dtype == torch.float64


def test_captions_of_one_picture_count_once() -> None:
    values = by_caption(torch.tensor([1.0, 3.0, 10.0]), [0, 0, 1])
    assert values.paired.tolist() == [2.0, 10.0] and (values.figure.value, values.figure.n) == (6.0, 2)
    hits = by_caption(torch.tensor([True, False, True]), [0, 0, 1])
    assert hits.paired.tolist() == [0.5, 1.0] and (hits.figure.value, hits.figure.n) == (0.75, 2)


def test_resamples_spread_like_the_figure() -> None:
    distances = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    values = by_resample(2.5, distances, 64)
    assert (values.figure.value, values.figure.se, values.figure.n) == (2.5, distances.std().item(), 64)
    assert torch.equal(values.paired, distances)
    with pytest.raises(HarnessError, match="degenerate"):
        by_resample(float("nan"), distances, 64)
