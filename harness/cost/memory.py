"""Memory: what a stretch of work needs at once, and what a component's weights take, dense and as stored."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.surgery.layers import matrix, prunable

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Peak:
    """Filled in when the stretch ends.

    megabytes: the peak in MB (10⁶ bytes) of what `of` names, None where it cannot be had. tensors: MB of tensors that
    the stretch itself had made on the device and not yet let go of, at most at once: the same on every run, however
    the process was used before.
    """

    megabytes: float | None = None
    of: str = "not measured"
    tensors: float = 0.0


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that operations make on a device, until they are freed."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = device.type
        self.known: dict[int, weakref.ref[Any]] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == self.kind:
                storage = leaf.untyped_storage()
                if id(storage) not in self.known:
                    self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: object) -> None:
            self.known.pop(key, None)
            self.now -= size

        self.known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of the body.

    On a GPU: bytes that torch allocated. On Linux: resident memory, after resetting the mark that otherwise never
    falls. Elsewhere `megabytes` stays None and `of` says so. `tensors` is counted everywhere, operation by operation,
    which takes about 5 % of the time of a small model; what a kernel needs inside is not in it.
    """
    peak, live = Peak(), _Live(device)
    resident = False
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            _CLEAR.write_text("5")
            resident = True
        except OSError:
            peak.of = "not measured: this system does not let a process reset its high-water mark"
    with live:
        yield peak
    peak.tensors = live.peak / 1e6
    if device.type == "cuda":
        peak.megabytes, peak.of = torch.cuda.max_memory_allocated(device) / 1e6, "allocated on the GPU"
    elif resident and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())):
        peak.megabytes, peak.of = int(found[1]) * 1024 / 1e6, "resident in the process"


def parameter_bytes(components: Mapping[str, nn.Module]) -> dict[str, dict[str, int]]:
    """Return per component the bytes of its parameters as they are (dense), and as they could be stored.

    Stored: a layer that can be pruned as a bitmap of what survives and the surviving weights, or dense where that is
    smaller; everything else dense. In memory, masked weights stay dense.
    """
    found = {}
    for name, module in components.items():
        dense = sum(p.numel() * p.element_size() for p in module.parameters())
        saved = 0
        for layer in prunable(module, "all").values():
            weight = matrix(layer)
            packed = int(weight.count_nonzero()) * weight.element_size() + -(-weight.numel() // 8)
            saved += max(0, weight.numel() * weight.element_size() - packed)
        found[name] = {"dense": dense, "stored": dense - saved}
    return found
