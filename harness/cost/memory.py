"""Peak memory of a stretch of work: the device's on a GPU, the process's high-water mark on a CPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Peak:
    """Filled in when the stretch ends. megabytes: peak in MB (10⁶ bytes). of: what was measured, or why nothing was."""

    megabytes: float | None = None
    of: str = "not measured"


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of the body.

    On a GPU: bytes that torch allocated. On Linux: resident memory, after resetting the mark that otherwise never
    falls. Elsewhere `megabytes` stays None and `of` says so.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.megabytes, peak.of = torch.cuda.max_memory_allocated(device) / 1e6, "allocated on the GPU"
        return
    try:
        _CLEAR.write_text("5")
    except OSError:
        yield peak
        peak.of = "not measured: this system does not let a process reset its high-water mark"
        return
    yield peak
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    if found:
        peak.megabytes, peak.of = int(found[1]) * 1024 / 1e6, "resident in the process"
