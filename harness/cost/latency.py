"""Latency as a ratio: dense and pruned are timed in turns, in one process, so that a slow moment hits both."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
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


def ratio(step: Callable[[], None], pruned: Callable[[], AbstractContextManager[None]], rounds: int) -> Measurement:
    """Time `step` dense, pruned, pruned, dense in every round; return the ratio pruned / dense.

    pruned: opens a context in which the model is pruned; changing over is not timed. The value is the exponential of
    the median of the rounds' log ratios; the standard error, by the delta method, comes from their median absolute
    deviation. n: rounds.
    """

    def clock() -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    logs = []
    for _ in range(rounds):
        dense = clock()
        with pruned():
            masked = clock() + clock()
        logs.append(math.log(masked / (dense + clock())))
    middle = statistics.median(logs)
    spread = 1.4826 * statistics.median(abs(x - middle) for x in logs)
    value = math.exp(middle)
    return Measurement(value, value * 1.2533 * spread / math.sqrt(rounds), rounds)
