"""Whether Gram matrices fit into memory, asked before anything is allocated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from harness.errors import HarnessError


class NoRoom(HarnessError):
    """The statistics do not fit into memory."""


def gram_bytes(widths: Sequence[int]) -> int:
    """Return the size in bytes of float32 Gram matrices. widths: the number of values of each."""
    return 4 * sum(widths)


def check_room(needed: int, device: torch.device, component: str) -> None:
    """Check that a device has `needed` bytes free, before anything is allocated.

    Raises:
        NoRoom: The device has fewer bytes free.
    """
    free = available(device)
    if free is not None and needed > free:
        raise NoRoom(
            f"the Gram matrices of {component} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {device}; "
            "choose a method without them (wanda, magnitude), fewer layers (linear), or a machine with more memory"
        )


def available(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None where the system does not say."""
    if device.type == "cuda":
        # Memory that torch has reserved but does not use is free as well.
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    try:
        line = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(line[1]) * 1024 if line else None
