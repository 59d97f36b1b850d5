"""Baselines whose figures are better than what was measured: what a regression looks like from the other side."""

from __future__ import annotations

import json
from dataclasses import replace

from harness import digests
from harness.verdict.baselines import Baselines


def shifted(old: Baselines, metric: str, tolerances: float) -> Baselines:
    """Return baselines in which one metric of every case is better by so many tolerances, per caption too."""
    cases, sidecars = {}, {}
    for case, by_workload in old.cases.items():
        cases[case] = dict(by_workload)
        for workload, entry in by_workload.items():
            figure = entry["quality"][metric]
            by = tolerances * figure["tolerance"] * (-1 if figure["direction"] == "lower" else 1)
            values = json.loads(old.sidecars[entry["sidecar"]])
            values[metric] = [value + by for value in values[metric]]
            content = json.dumps(values).encode()
            quality = entry["quality"] | {metric: figure | {"value": figure["value"] + by}}
            cases[case][workload] = entry | {"quality": quality, "sidecar": digests.of_bytes(content)}
            sidecars[digests.of_bytes(content)] = content
    return replace(old, cases=cases, sidecars=sidecars)
