"""Memory: the peak of the tensors that making pictures holds, measured apart from the timed generation."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.generation.generate import Pictures
from harness.generation.prompts import Prompts
from harness.targets.target import Target


class Peak(Protocol):
    """A peak that is being measured."""

    @property
    def tensors(self) -> float:
        """Return the peak so far, in MB (10⁶ bytes)."""


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations return on a device, until each is freed."""

    def __init__(self, device: torch.device, held: Sequence[Tensor] = ()) -> None:
        """Count what is held.

        Args:
            device: The device whose tensors count.
            held: Tensors that are there already.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = device.type
        self._known: dict[int, weakref.ref[Any]] = {}
        self._now = self._most = 0
        for tensor in held:
            self._see(tensor)

    @property
    def tensors(self) -> float:
        """As in `Peak`."""
        return self._most / 1e6

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count the tensors that it returns."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        return out

    def _see(self, tensor: Tensor) -> None:
        if tensor.device.type != self._kind:
            return
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            self._known.pop(key, None)
            self._now -= size

        self._known[key] = weakref.ref(storage, gone)
        self._now += size
        self._most = max(self._most, self._now)


class Allocated:
    """Reads the peak of CUDA's allocator above what the device held at the start."""

    def __init__(self, device: torch.device, held: Sequence[Tensor] = ()) -> None:
        """Start. Arguments as for `Counted`."""
        torch.cuda.reset_peak_memory_stats(device)
        self._device = device
        self._before = torch.cuda.memory_allocated(device) - sum(t.nbytes for t in held if t.device == device)

    @property
    def tensors(self) -> float:
        """As in `Peak`."""
        return (torch.cuda.max_memory_allocated(self._device) - self._before) / 1e6


@contextmanager
def peak_memory(device: torch.device, held: Sequence[Tensor] = ()) -> Iterator[Peak]:
    """Measure the memory that the body takes on a device.

    On a CUDA device this is the allocator's own peak. Elsewhere every tensor that an operation returns is counted, and
    not the memory that a kernel needs inside: the count is the same on every run, whatever else the process holds.

    Args:
        device: The device.
        held: Tensors that are there already and belong to the figure. Those of another device do not count.

    Yields:
        The measurement. Read `tensors` at the end of the body or later.
    """
    if device.type == "cuda":
        yield Allocated(device, held)
        return
    with Counted(device, held) as peak:
        yield peak


class Memory:
    """The memory of making pictures, measured once per pipeline.

    Pruned weights are zeros in the same places of memory, so all masked cases of a target share one figure.
    """

    def __init__(self) -> None:
        """Know no figure yet."""
        self._known: dict[tuple[str, int, int], float | None] = {}

    def of(
        self,
        target: Target,
        captions: Sequence[str],
        pictures: Pictures,
        prompts: Prompts,
        make: Callable[[Target, Sequence[str]], Pictures],
    ) -> float | None:
        """Return the peak of the last batch of a generation, while the pictures and captions of all batches are held.

        One batch is made again, with as few denoising steps as the family can run: further steps hold no more.

        Args:
            target: The pipeline. Its weights may have changed since the generation.
            captions: The captions of the generation.
            pictures: Its pictures.
            prompts: Its encoded captions.
            make: Makes pictures of some captions, as the generation did.

        Returns:
            MB (10⁶ bytes), rounded to three decimals; None where the batch did not fit into memory this time.

        Raises:
            HarnessError: The pipeline fails.
        """
        key = target.digest, len(captions), pictures.batch_size
        if key not in self._known:
            size = pictures.batch_size
            batches = [captions[first : first + size] for first in range(0, len(captions), size)]
            held = [tensor for batch in batches for tensor in prompts.kept(batch)]
            # Room for the pictures of all batches is made when the first batch is done.
            held += [pictures.images] if len(batches) > 1 else []
            quick = replace(target, protocol=replace(target.protocol, num_inference_steps=target.family.fewest_steps))
            with peak_memory(target.device, held) as peak:
                made = make(quick, batches[0])
                tensors = peak.tensors
            self._known[key] = round(tensors, 3) if made.batch_size >= len(batches[0]) else None
        return self._known[key]
