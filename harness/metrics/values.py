"""Turns one value per picture, or resampled distances, into the `Values` of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.measurement import Measurement, averaged, mean, share
from harness.metrics.metric import Values

if TYPE_CHECKING:
    from torch import Tensor


def by_caption(values: Tensor, groups: Sequence[int] | None) -> Values:
    """Return the mean of one value per picture; the values of two runs pair by caption.

    Args:
        values: `[n]` in the order of the captions. bool: the figure is the share of True, with the standard error of a
            share. Otherwise: the mean, with the standard error of a mean.
        groups: See `Sample.groups`. Values of one group are averaged first, and n counts groups. The average of bools
            is no bool, so grouped bools get the standard error of a mean.

    Returns:
        The figure, and one paired value per group, or per caption where groups is None.

    Raises:
        HarnessError: There are fewer than two values, or the mean is not finite.
    """
    import torch

    if values.dtype == torch.bool and groups is None:
        return Values(share(values), values.double())
    means = averaged(values, groups)
    return Values(mean(means), means)


def by_resample(value: float, distances: Tensor, n: int) -> Values:
    """Return a figure that is known for all pictures at once, such as FID; two runs pair by resample.

    Args:
        value: The figure of all pictures.
        distances: The figure of every resample, `[resamples]`. Their spread is the standard error.
        n: How many pictures, or groups of pictures, the figure rests on.

    Returns:
        The figure, and one paired value per resample.

    Raises:
        HarnessError: A value is not finite.
    """
    return Values(Measurement(value, distances.std().item(), n), distances)
