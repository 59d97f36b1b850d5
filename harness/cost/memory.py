"""Memory: the peak size of the tensors that some work holds."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations make on a device, until each is freed."""

    def __init__(self, device: torch.device) -> None:
        """Count nothing yet. device: the device whose tensors count."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = device.type
        self._known: dict[int, weakref.ref[Any]] = {}
        self._now = self._most = 0

    @property
    def tensors(self) -> float:
        """Return the peak, in MB (10⁶ bytes)."""
        return self._most / 1e6

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count the tensors that it returns."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == self._kind:
                storage = leaf.untyped_storage()
                if id(storage) not in self._known:
                    self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: object) -> None:
            self._known.pop(key, None)
            self._now -= size

        self._known[key] = weakref.ref(storage, gone)
        self._now += size
        self._most = max(self._most, self._now)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Count the tensors that the body makes on a device.

    The count is the same on every run, whatever else the process holds. It covers the tensors that operations return,
    and not the memory that a kernel needs inside. Counting takes about 5 % of the time of a small model.

    Args:
        device: The device whose tensors count.

    Yields:
        The count. Read `tensors` after the body.
    """
    with Peak(device) as peak:
        yield peak
