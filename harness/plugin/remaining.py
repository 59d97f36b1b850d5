"""How much of the whole run is left, for the progress line."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from harness.clock import Clock


class Remaining:
    """Counts the tests that measure, and estimates the time that the rest takes.

    Loading and the dense model come before the end of the first test, so the estimate begins there. It takes the tests
    that are left as long as those that have ended.
    """

    def __init__(self, tests: Collection[str] = ()) -> None:
        """Count nothing yet. tests: node ids of the tests to count."""
        self._tests, self._done, self._clock = frozenset(tests), 0, Clock(len(tests))

    @staticmethod
    def of(items: Sequence[pytest.Item]) -> Remaining:
        """Return the count of the tests that use the fixture `gate`, without claims: other tests measure their cases.

        Args:
            items: All tests of the run.
        """
        given = (
            (item, getattr(item, "callspec", None)) for item in items if "gate" in getattr(item, "fixturenames", ())
        )
        return Remaining([item.nodeid for item, call in given if call is None or "claim" not in call.params])

    def ended(self, test: str) -> None:
        """Count a test, given by its node id, if it is one of those to count."""
        if test in self._tests:
            self._done += 1
            self._clock.begin(self._done)

    def __str__(self) -> str:
        """Return " (case 3 of 35, 2 min left in all)"; "" where there is only one."""
        if len(self._tests) < 2 or self._done >= len(self._tests):
            return ""
        left = self._clock.left(self._done)
        return f" (case {self._done + 1} of {len(self._tests)}{f'{left} in all' if left else ''})"
