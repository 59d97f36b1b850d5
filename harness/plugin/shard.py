"""`--shard I/N`: one of N parts of the cases, for machines that share nothing but the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.schedule import dealt

# A calibration takes about as long as half a case, on either workload of the measurements.
CALIBRATION = 0.5


def parsed(text: str) -> tuple[int, int]:
    """Return number and count of a shard.

    Args:
        text: "I/N", I from 1 to N.

    Raises:
        HarnessError: The text says something else.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise HarnessError(f"--shard {text} is no shard; give I/N, such as 1/4 for the first of four")
    return int(number), int(count)


class Shard:
    """Keeps the tests of one shard."""

    def __init__(self, number: int, count: int) -> None:
        """Take the number of the shard, from 1, and the number of shards."""
        self._shard = number, count

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect all tests but those of the shard's cases. Claims are about several cases, and belong to none."""
        cases = [_case(item) for item in items]
        own = chosen(list(dict.fromkeys(case for case in cases if case is not None)), self._shard)
        config.hook.pytest_deselected(items=[i for i, case in zip(items, cases, strict=True) if case not in own])
        items[:] = [item for item, case in zip(items, cases, strict=True) if case in own]


def _case(item: pytest.Item) -> Case | None:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((value for value in values if isinstance(value, Case)), None)


def chosen(cases: Sequence[Case], shard: tuple[int, int]) -> set[Case]:
    """Return the cases of a shard. Shards take about equally long; cases that share a calibration stay together.

    Args:
        cases: All cases of the run, in order.
        shard: Number from 1, and count.
    """
    keys = [case.group if case.needs else case.id for case in cases]
    costs = {key: float(count) for key, count in Counter(keys).items()}
    costs |= {case.group: costs[case.group] + CALIBRATION for case in cases if case.needs}
    own = dict(zip(costs, dealt(list(costs.values()), shard[1]), strict=True))
    return {case for case, key in zip(cases, keys, strict=True) if own[key] == shard[0] - 1}
