"""Tensors as plain arrays, which several processes of one machine read without a copy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Array:
    """The content of a tensor on the CPU."""

    dtype: str
    """The name of the dtype, such as "bfloat16", which numpy does not have."""
    shape: tuple[int, ...]
    """The shape."""
    content: NDArray[Any]
    """The bytes, uint8 `[n]`."""


def packed(tensor: Tensor) -> Array:
    """Return a tensor as an array."""
    plain = tensor.detach().cpu().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    return Array(name, tuple(plain.shape), plain.reshape(-1).view(torch.uint8).numpy())


def unpacked(array: Array) -> Tensor:
    """Return the tensor. It is a view of the array, which other processes may read: do not write to it."""
    dtype = getattr(torch, array.dtype)
    if not array.content.size:
        return torch.empty(array.shape, dtype=dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array.content).view(dtype).view(array.shape)
