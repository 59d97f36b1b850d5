"""Statistics of a layer's inputs: taken from rows, merged, and checked against a weight."""

from __future__ import annotations

import torch
from torch import Tensor

from pruners.types import LayerStats

# Numbers that are squared and summed at once.
PART = 2**25


def collect(rows: Tensor, gram: bool) -> LayerStats:
    """Return the statistics of input rows `[rows, in]`, or `[groups, rows, in]` for a grouped convolution.

    Products are taken in float32, or float64 where the input is; sums of squares are float64.
    """
    grouped = rows if rows.dim() == 3 else rows[None]
    wide = grouped.to(working(grouped.dtype))
    return LayerStats(grouped.shape[1], sum_of_squares(wide, 1), wide.mT @ wide if gram else None)


def sum_of_squares(x: Tensor, dim: int) -> Tensor:
    """Return the float64 sum of squares over a dimension, a part at a time: a GPU copies what it sums in float64."""
    parts = torch.split(x, max(1, PART * x.shape[dim] // max(1, x.numel())), dim)
    total: Tensor = parts[0].square().sum(dim, dtype=torch.float64)
    for part in parts[1:]:
        total += part.square().sum(dim, dtype=torch.float64)
    return total


def merge(first: LayerStats, second: LayerStats) -> LayerStats:
    """Return the statistics of both sets of rows together. Raises ValueError where they are of different layers."""
    if first.squares.shape != second.squares.shape or (first.gram is None) != (second.gram is None):
        raise ValueError(f"statistics do not fit together: {_form(first)} and {_form(second)}")
    gram = None if first.gram is None or second.gram is None else first.gram + second.gram
    return LayerStats(first.rows + second.rows, first.squares + second.squares, gram)


def _form(stats: LayerStats) -> str:
    return f"{tuple(stats.squares.shape)} {'with' if stats.gram is not None else 'without'} Gram matrix"


def fitting(weight: Tensor, stats: LayerStats | None, gram: bool = False) -> LayerStats:
    """Return the statistics if they can be used with a weight `[out, in]`.

    Raises ValueError where there are none, where the shapes disagree or where a value is NaN, infinite or negative.
    """
    if stats is None or (gram and stats.gram is None):
        raise ValueError(
            f"the method needs the layer's {'Gram matrix' if gram else 'sums of squares'}: calibrate first"
        )
    groups, size = stats.squares.shape
    if size != weight.shape[1] or weight.shape[0] % groups:
        raise ValueError(f"the statistics have {groups} × {size} inputs, the weight is {tuple(weight.shape)}")
    if not torch.isfinite(stats.squares).all() or (stats.squares < 0).any():
        raise ValueError("a calibration input is NaN or infinite")
    if gram and stats.gram is not None:
        if stats.gram.shape != (groups, size, size):
            raise ValueError(f"the Gram matrix is {tuple(stats.gram.shape)}, wanted {(groups, size, size)}")
        if not torch.isfinite(stats.gram).all():
            raise ValueError("a calibration input is NaN or infinite")
    return stats


def norms(weight: Tensor, stats: LayerStats) -> Tensor:
    """Return ‖X_j‖₂ for every weight's input: `[groups, 1, in]` against the weight seen as `[groups, out, in]`."""
    return stats.squares.sqrt().to(working(weight.dtype)).to(weight.device)[:, None]


def working(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64 weights, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
