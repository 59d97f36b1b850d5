"""A workbench with some of the captions, for a shard of a case."""

from __future__ import annotations

from harness.execution.bench import Workbench


def of_captions(bench: Workbench, first: int, last: int) -> Workbench:
    """Return a workbench with some of its captions. Everything that is loaded is shared; facts stay the same.

    Args:
        bench: The loaded workload.
        first: The number of the first caption.
        last: The number of the caption after the last one.
    """
    return bench if (first, last) == (0, len(bench.texts)) else _Part(bench, first, last)


class _Part(Workbench):
    """A workbench with some of another's captions."""

    def __init__(self, whole: Workbench, first: int, last: int) -> None:
        # Load what a shard uses before it is copied. Otherwise every shard would load its own.
        _ = whole.target, whole.scorer, whole.extractor, whole.metrics, whole.prompts
        vars(self).update(vars(whole))
        self._captions = slice(first, last)

    @property
    def texts(self) -> list[str]:
        return self.workload.texts[self._captions]

    @property
    def first(self) -> int:
        return int(self._captions.start)
