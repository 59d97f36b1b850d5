"""Latency as a ratio: dense and pruned take turns in one process, so that a slow moment of the machine hits both."""

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
    """Return a function that does the work and then waits until the device is done."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


# The fewest and the most rounds of a comparison.
FEWEST, MOST = 12, 96
# Number of bootstrap draws for the standard error.
DRAWS = 500


def ratio(step: Callable[[], None], pruned: Callable[[], AbstractContextManager[object]], wanted: float) -> Measurement:
    """Return the time of a step with the pruned model, as a ratio to the dense model.

    Every round times the step dense, pruned, pruned and dense again. There are at least `FEWEST` and at most `MOST`
    rounds; they end when the standard error is small enough.

    Args:
        step: The work to time.
        pruned: Returns a context in which the model is pruned. Entering and leaving it is not timed.
        wanted: The standard error that is small enough.

    Returns:
        The exponential of the median of the rounds' log ratios; its standard error by the delta method from
        `median_error`; the number of rounds.
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
    """Return the standard error of the median of a series by a circular block bootstrap (Politis and Romano, 1992).

    Neighbours in a series of timings depend on each other. Blocks of about the cube root of the length keep a slow
    moment of the machine together. The draws are seeded.

    Args:
        series: Values in the order in which they were measured, two or more.
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
