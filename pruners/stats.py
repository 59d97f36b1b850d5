"""Checks of a layer's weight, and the statistics of its inputs: taken from rows, merged and checked."""

from __future__ import annotations

import torch
from torch import Tensor

from pruners.types import LayerStats

# The dtypes of weights that can be pruned.
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Number of values that are squared and summed at once.
PART = 2**25
# Below this mean, squares in float32 have lost digits or are 0.
TINY = 1e-30
# Below this mean square of the largest input, products of two inputs in float32 have lost digits or are 0.
FAINT = 1e-24
# A norm within these bounds can be multiplied by a float32 weight. Other norms need float64.
SHORT, LONG = 1e-20, 1e20


def usable(weight: Tensor) -> Tensor:
    """Return a layer's weight without its gradient, if a pruner can work on it.

    Args:
        weight: `[out, in]`, a plain tensor or a parameter.

    Raises:
        ValueError: It is no matrix, is empty, has a dtype outside `DTYPES`, or holds NaN or an infinite value.
    """
    if weight.dim() != 2 or not weight.numel():
        raise ValueError(f"its weight has the shape {tuple(weight.shape)}; a matrix with at least one weight is needed")
    if weight.dtype not in DTYPES:
        raise ValueError(f"its weight is {_name(weight.dtype)}; load the pipeline in {', '.join(map(_name, DTYPES))}")
    weight = weight.detach()
    if not finite(weight):
        raise ValueError("a weight is NaN or infinite; save the pipeline again, or download it")
    return weight


def finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite."""
    # A finite sum has finite terms, and takes one pass over memory instead of four.
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def collect(rows: Tensor, gram: bool, sums: bool = False) -> LayerStats:
    """Return the statistics of input rows.

    Args:
        rows: `[rows, in]`, or `[groups, rows, in]` for a grouped convolution.
        gram: Whether the Gram matrix is wanted.
        sums: Whether sums are wanted.

    Returns:
        Sums and sums of squares in float64. The Gram matrix in float32, or float64 where the input is.

    Raises:
        ValueError: An input is too small or too large for its square to be a float64.
    """
    grouped = rows.detach() if rows.dim() == 3 else rows.detach()[None]
    wide = grouped.to(working(grouped.dtype))
    added = wide.sum(1, dtype=torch.float64) if sums else None
    return LayerStats(grouped.shape[1], sum_of_squares(wide, 1), wide.mT @ wide if gram else None, added)


def sum_of_squares(x: Tensor, dim: int) -> Tensor:
    """Return the sum of squares over a dimension, in float64.

    Squares are taken in the dtype of `x`. Where float32 squares could under- or overflow, they are taken in float64.

    Args:
        x: float32 or float64.
        dim: The dimension to sum over.

    Raises:
        ValueError: A float64 square under- or overflows.
    """
    # One part at a time, because a GPU copies values that it sums in float64.
    parts = torch.split(x, max(1, PART * x.shape[dim] // max(1, x.numel())), dim)
    total: Tensor = parts[0].square().sum(dim, dtype=torch.float64)
    for part in parts[1:]:
        total += part.square().sum(dim, dtype=torch.float64)
    least = TINY * x.shape[dim]
    smallest, largest = total.aminmax()
    if smallest >= least and largest < torch.inf:
        return total
    doubtful = ~((total >= least) & (total < torch.inf))
    some = x.movedim(dim, 0)[:, doubtful].double()
    total[doubtful] = some.square().sum(0)
    lost = (total[doubtful] == 0) & (some != 0).any(0)
    if (lost | (total[doubtful].isinf() & some.isfinite().all(0))).any():
        raise ValueError("a calibration input is too small or too large for its square to be a float64")
    return total


def merge(first: LayerStats, second: LayerStats) -> LayerStats:
    """Return the statistics of both sets of rows together.

    Raises:
        ValueError: They have different shapes, or only one of them has a Gram matrix or sums.
    """
    if _form(first) != _form(second):
        raise ValueError(f"statistics do not fit together: {_form(first)} and {_form(second)}")
    gram = None if first.gram is None or second.gram is None else first.gram + second.gram
    sums = None if first.sums is None or second.sums is None else first.sums + second.sums
    return LayerStats(first.rows + second.rows, first.squares + second.squares, gram, sums)


def scaled(stats: LayerStats, weight: float) -> LayerStats:
    """Return statistics whose rows count `weight` times as much. The number of rows stays as it is."""
    gram, sums = (None if part is None else part * weight for part in (stats.gram, stats.sums))
    return LayerStats(stats.rows, stats.squares * weight, gram, sums)


def _form(stats: LayerStats) -> str:
    parts = f"{'with' if stats.gram is not None else 'without'} Gram matrix"
    return f"{tuple(stats.squares.shape)} {parts}{' and sums' if stats.sums is not None else ''}"


def fitting(weight: Tensor, stats: LayerStats | None, gram: bool = False, sums: bool = False) -> LayerStats:
    """Return the statistics of a layer if they can be used with its weight.

    Args:
        weight: `[out, in]`.
        stats: The statistics of the layer's inputs, None where there are none.
        gram: Whether the Gram matrix is needed.
        sums: Whether sums are needed.

    Raises:
        ValueError: There are no statistics, they rest on no row, shapes disagree, a value is NaN, infinite or negative,
            or inputs were too small or too large for the dtype of the Gram matrix.
    """
    if stats is None or (gram and stats.gram is None) or (sums and stats.sums is None):
        wanted = "Gram matrix" if gram else "sums" if sums else "sums of squares"
        raise ValueError(f"the method needs the layer's {wanted}: calibrate first")
    if stats.rows < 1:
        raise ValueError("calibration saw no input of the layer; calibrate on more captions, or with padding counted")
    groups, size = stats.squares.shape
    if size != weight.shape[1] or weight.shape[0] % groups:
        raise ValueError(f"the statistics have {groups} × {size} inputs, the weight is {tuple(weight.shape)}")
    if not torch.isfinite(stats.squares).all() or (stats.squares < 0).any():
        raise ValueError("a calibration input is NaN or infinite; use a method without data (magnitude, random)")
    if sums and stats.sums is not None:
        if stats.sums.shape != stats.squares.shape:
            raise ValueError(f"the sums are {tuple(stats.sums.shape)}, not {(groups, size)}")
        if not torch.isfinite(stats.sums).all():
            raise ValueError("a calibration input is NaN or infinite; use a method without data (magnitude, random)")
    if gram and stats.gram is not None:
        if stats.gram.shape != (groups, size, size):
            raise ValueError(f"the Gram matrix is {tuple(stats.gram.shape)}, not {(groups, size, size)}")
        largest = float(stats.squares.max())
        faint = stats.gram.dtype == torch.float32 and 0 < largest < FAINT * stats.rows
        if faint or not finite(stats.gram):
            raise ValueError(
                f"its inputs are too {'small' if faint else 'large'} for a Gram matrix in {_name(stats.gram.dtype)}; "
                "use a method that needs none (wanda, magnitude)"
            )
    return stats


def norms(weight: Tensor, stats: LayerStats) -> Tensor:
    """Return ‖X_j‖₂ of every input, as a factor for a weight of shape `[groups, out / groups, in]`.

    Returns:
        `[groups, 1, in]` on the weight's device, in the dtype to compute in: float64 if a product in float32 could
        under- or overflow.
    """
    lengths = stats.squares.sqrt()
    extreme = ((lengths > 0) & (lengths < SHORT)) | (lengths > LONG)
    dtype = torch.float64 if extreme.any() else working(weight.dtype)
    return lengths.to(dtype).to(weight.device)[:, None]


def working(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float64 for float64 weights, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
