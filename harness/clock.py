"""Estimates how long the remaining work takes."""

from __future__ import annotations

import time

# In the first seconds the speed says too little about the rest.
SHORT = 3.0


class Clock:
    """Estimates the time left of work in equal parts.

    Parts restored from an earlier run do not count towards the speed.
    """

    def __init__(self, total: int) -> None:
        """Count nothing yet. total: parts in all."""
        self.total = total
        self._began: tuple[float, int] | None = None

    def begin(self, done: int) -> None:
        """Start. Later calls change nothing. done: parts that are done already."""
        self._began = self._began or (time.monotonic(), done)

    def left(self, done: int) -> str:
        """Return ", 2 min left", or nothing in the first three seconds. done: parts that are done now."""
        if self._began is None:
            return ""
        worked, parts = time.monotonic() - self._began[0], done - self._began[1]
        if worked < SHORT or parts <= 0:
            return ""
        seconds = worked / parts * (self.total - done)
        for unit, size in (("h", 3600), ("min", 60)):
            if seconds >= 2 * size:
                return f", {seconds / size:.0f} {unit} left"
        return f", {seconds:.0f} s left"
