"""How long something will still take, for whoever watches."""

from __future__ import annotations

import time

# Seconds of work that tell too little of its speed.
SHORT = 3.0


class Clock:
    """Of work in equal parts, the first of which may have been done before: those say nothing of the speed."""

    def __init__(self, total: int) -> None:
        """total: parts in all."""
        self.total = total
        self._began: tuple[float, int] | None = None

    def begin(self, done: int) -> None:
        """Start, with so many parts done before. Later calls change nothing."""
        self._began = self._began or (time.monotonic(), done)

    def left(self, done: int) -> str:
        """Return ", 2 min left" with so many parts done, and nothing in the first three seconds."""
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
