"""Latency: a ratio of turns on a made-up clock, and the standard error of its median against draws."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from harness.cost import latency


def test_latency_is_a_ratio_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, inside = [0.0], [False]

    @contextmanager
    def pruned() -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    def step() -> None:
        clock[0] *= 1.01  # a machine that slows down all the time hits both alike
        clock[0] += 1.5 if inside[0] else 1.0

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ratio = latency.ratio(step, pruned, 0.05)
    assert ratio.n == latency.FEWEST and ratio.value == pytest.approx(1.5, abs=0.2)


def test_rounds_are_added_until_the_ratio_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, clock = random.Random(0), [0.0]

    def step() -> None:
        clock[0] += rng.lognormvariate(0, 0.3)

    @contextmanager
    def pruned() -> Iterator[None]:
        yield

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    ratio = latency.ratio(step, pruned, 0.06)
    assert latency.FEWEST < ratio.n <= latency.MOST and (ratio.se <= 0.06 or ratio.n == latency.MOST)
    assert abs(ratio.value - 1) < 4 * ratio.se


def test_a_step_ends_when_its_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append(f"waited for {device}"))
    for device in ("cpu", "cuda:1"):
        latency.synchronised(torch.device(device), lambda: order.append("worked"))()
    assert order == ["worked", "worked", "waited for cuda:1"]


def test_block_bootstrap_is_the_spread_of_the_median() -> None:
    rng = random.Random(1)
    series = [[rng.gauss(0, 1) for _ in range(40)] for _ in range(200)]
    spread = statistics.stdev(statistics.median(one) for one in series)
    error = statistics.mean(latency.median_error(one) for one in series[:30])
    assert 0.75 < error / spread < 1.3


def test_blocks_see_that_neighbours_are_alike() -> None:
    rng = random.Random(2)
    slow = [value for value in (rng.gauss(0, 1) for _ in range(20)) for _ in range(4)]
    shuffled = rng.sample(slow, len(slow))
    assert latency.median_error(slow) > 1.2 * latency.median_error(shuffled)
