"""`--changed`: no pictures for cases whose pruned weights are the baseline's, except for a few that audit the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness import digests
from harness.case import Case
from harness.measurement import Measurement
from harness.record import Record
from harness.verdict.baseline import Baseline


def audited(cases: Iterable[Case], digest: str) -> frozenset[Case]:
    """Return the cases that make pictures although nothing changed: one per target and set of pruned components.

    Args:
        cases: The cases of the run, in any order.
        digest: The digest of the source tree. It decides which case of a set is taken, so that every change of the
            code audits other cases, and every process of a run the same.
    """
    sets: dict[tuple[str, ...], list[Case]] = {}
    for case in sorted(set(cases), key=lambda case: case.id):
        if not case.is_dense:
            sets.setdefault((case.target, *case.components), []).append(case)
    return frozenset(alike[int(digests.of_value([digest, *key])[:15], 16) % len(alike)] for key, alike in sets.items())


def comparable(stored: Baseline, names: Iterable[str]) -> bool:
    """Return whether a baseline can stand in for pictures: it knows its weights and all metrics of the run.

    Args:
        stored: The baseline.
        names: The names of the run's metrics.
    """
    return bool(stored.trace.weights) and stored.quality.keys() >= set(names)


def filled(record: Record, stored: Baseline) -> Record:
    """Return a record without pictures, with the figures of its baseline."""
    figures = {name: Measurement(figure.value, figure.se, figure.n) for name, figure in stored.quality.items()}
    paired = {name: list(values) for name, values in stored.paired.items()}
    return replace(record, quality=figures, paired=paired, degenerate=stored.degenerate)
