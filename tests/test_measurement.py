"""A figure, its standard error and n: against formulas by hand."""

from __future__ import annotations

import math

import pytest
import torch

from harness.errors import HarnessError
from harness.measurement import averaged, mean, share


def test_a_mean_has_the_standard_error_of_a_mean() -> None:
    figure = mean(torch.tensor([1.0, 2.0, 3.0]))
    assert (figure.value, figure.n) == (2.0, 3) and figure.se == pytest.approx(1 / math.sqrt(3))
    with pytest.raises(HarnessError, match="1 picture is too few for a standard error; use 2 or more captions"):
        mean(torch.tensor([1.0]))


def test_a_share_is_never_certain() -> None:
    for hits, value in ((True, 1.0), (False, 0.0)):
        figure = share(torch.tensor([hits] * 10))
        # Agresti and Coull: 12 of 14, and 2 of 14.
        assert (figure.value, figure.n) == (value, 10) and figure.se == pytest.approx(math.sqrt(12 / 14 * 2 / 14 / 14))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_is_no_figure(wrong: float) -> None:
    with pytest.raises(HarnessError, match="the pictures are degenerate"):
        mean(torch.tensor([1.0, wrong]))


def test_means_over_groups() -> None:
    values = torch.tensor([1.0, 3.0, 10.0, 5.0])
    assert averaged(values, [0, 0, 1, 0]).tolist() == [3.0, 10.0]
    assert averaged(values, None).tolist() == values.tolist() and averaged(values, None).dtype == torch.float64
