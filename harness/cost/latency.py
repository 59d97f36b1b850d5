"""Latency as a ratio: dense and pruned are timed in turns, in one process, so that a slow moment hits both."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from harness.measurement import Measurement


def synchronised(device: torch.device, work: Callable[[], object]) -> Callable[[], None]:
    """Return `work` followed by waiting for the device."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


# Rounds of a comparison, and how often they are drawn anew for the standard error.
FEWEST, MOST = 12, 96
DRAWS = 500


def ratio(step: Callable[[], None], pruned: Callable[[], AbstractContextManager[None]], wanted: float) -> Measurement:
    """Time `step` dense, pruned, pruned, dense in every round; return the ratio pruned / dense.

    pruned: opens a context in which the model is pruned; changing over is not timed. wanted: the standard error at
    which rounds end, between `FEWEST` and `MOST`. The value is the exponential of the median of the rounds' log ratios,
    the standard error by the delta method that of `median_error`. n: rounds.
    """

    def clock() -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    logs: list[float] = []
    while True:
        dense = clock()
        with pruned():
            masked = clock() + clock()
        logs.append(math.log(masked / (dense + clock())))
        if len(logs) < FEWEST:
            continue
        value = math.exp(statistics.median(logs))
        se = value * median_error(logs)
        if se <= wanted or len(logs) == MOST:
            return Measurement(value, se, len(logs))


def median_error(series: Sequence[float]) -> float:
    """Return the standard error of the median of a series by a circular block bootstrap (Politis & Romano, 1992).

    Blocks of about the cube root of the length keep a slow moment together: neighbours are not independent. Seeded.
    """
    n = len(series)
    block = max(2, round(n ** (1 / 3)))
    rng = random.Random(n)
    medians = []
    for _ in range(DRAWS):
        starts = [rng.randrange(n) for _ in range(-(-n // block))]
        drawn = [series[(start + i) % n] for start in starts for i in range(block)]
        medians.append(statistics.median(drawn[:n]))
    return statistics.stdev(medians)
