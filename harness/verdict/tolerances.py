"""How far figures may move before a case fails, and how far they move when nothing has changed."""

from __future__ import annotations

from collections.abc import Mapping

from harness.record import Record
from pruners import METHODS, needs

# In either direction, and one standard deviation with other threads and batches: docs/measurements/noise.md.
TOLERANCES = {"fid": 0.02, "fid_dense": 0.02, "kid": 0.02, "clip": 0.02, "composition": 0.02, "drift": 0.02}
NOISE = {"fid": 2e-4, "fid_dense": 2e-4, "kid": 2e-4, "clip": 2e-4, "composition": 0.0, "drift": 2e-4}
# The same where weights are solved for, from sums whose rounding moves them: in standard errors of the figure, which
# grow with it past the drop-off, composition in pictures.
SOLVED_TOLERANCES = {"fid": 0.25, "fid_dense": 0.25, "kid": 0.25, "clip": 0.25, "composition": 3.5, "drift": 0.25}
SOLVED_NOISE = {"fid": 0.04, "fid_dense": 0.04, "kid": 0.04, "clip": 0.04, "composition": 0.7, "drift": 0.04}
LOWER_IS_BETTER = ("fid", "fid_dense", "kid", "drift")

# Of the tensors that generation needs at once: the same on every run of a profile.
MEMORY_TOLERANCE = 0.02
# Of the ratio of latencies, pruned to dense, and its standard deviation between runs that nothing tells apart.
LATENCY_TOLERANCE = 0.25
LATENCY_NOISE = 0.02


def tolerance(name: str, record: Record) -> float:
    """Return how far a metric of a case may move in either direction, in its unit."""
    return round(max(TOLERANCES[name], _solved(name, record, SOLVED_TOLERANCES)), 4)


def noise(name: str, record: Record) -> float:
    """Return the standard deviation of a metric of a case when nothing has changed, in its unit."""
    return max(NOISE[name], _solved(name, record, SOLVED_NOISE))


def _solved(name: str, record: Record, table: Mapping[str, float]) -> float:
    method = record.case.split("-")[2]
    if not all(name in METHODS for name in method.split("+")) or needs(method) != "gram":
        return 0.0
    measured = record.quality[name]
    return table[name] / measured.n if name == "composition" else table[name] * measured.se
