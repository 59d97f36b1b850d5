"""Memory and latency: what is counted is what was needed, and the standard error is that of the median."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from harness.cost import latency
from harness.cost.memory import parameter_bytes, peak_memory

MB = 1e6
CPU = torch.device("cpu")


def test_tensors_are_counted_until_they_are_freed() -> None:
    held = torch.zeros(1000, 1000)
    with peak_memory(CPU) as peak:
        for _ in range(3):
            first = held + 1  # 4 MB
            second = first * 2  # 4 MB more
            del first
            third = second.view(-1)[:10]  # a view is no memory of its own
            del second, third
    assert peak.tensors == pytest.approx(8.0)


def test_the_same_work_needs_the_same_however_much_the_process_holds() -> None:
    layer, x = nn.Linear(256, 256), torch.zeros(64, 256)

    def needed() -> float:
        with torch.inference_mode(), peak_memory(CPU) as peak:
            layer(layer(x)).relu()
        return peak.tensors

    before = needed()
    ballast = torch.ones(30_000_000)
    assert needed() == before and ballast.any()
    with peak_memory(CPU) as peak:  # with gradients the first layer's output is kept
        layer(layer(x).relu()).relu().sum()
    assert peak.tensors > before


def test_resident_memory_is_reported_where_it_can_be_had() -> None:
    with peak_memory(CPU) as peak:
        torch.ones(25_000_000)
    assert peak.megabytes is None or peak.megabytes > 100


def test_parameter_bytes() -> None:
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Conv2d(3, 8, 3, bias=False))
    dense = 4 * (64 * 32 + 32 + 8 * 27)
    # No zeros: bitmaps would only add.
    assert parameter_bytes({"m": module}) == {"m": {"dense": dense, "stored": dense}}
    with torch.no_grad():
        module[0].weight[:16] = 0
    saved = 4 * 64 * 32 - (4 * 64 * 16 + 64 * 32 // 8)
    assert parameter_bytes({"m": module}) == {"m": {"dense": dense, "stored": dense - saved}}


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
    found = latency.ratio(step, pruned, 0.05)
    assert found.n == latency.FEWEST and found.value == pytest.approx(1.5, abs=0.2)


def test_rounds_are_added_until_the_ratio_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, clock = random.Random(0), [0.0]

    def step() -> None:
        clock[0] += rng.lognormvariate(0, 0.3)

    @contextmanager
    def pruned() -> Iterator[None]:
        yield

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    found = latency.ratio(step, pruned, 0.06)
    assert latency.FEWEST < found.n <= latency.MOST and (found.se <= 0.06 or found.n == latency.MOST)
    assert abs(found.value - 1) < 4 * found.se


def test_block_bootstrap_is_the_spread_of_the_median() -> None:
    rng = random.Random(1)
    series = [[rng.gauss(0, 1) for _ in range(40)] for _ in range(200)]
    spread = statistics.stdev(statistics.median(one) for one in series)
    found = statistics.mean(latency.median_error(one) for one in series[:30])
    assert 0.75 < found / spread < 1.3


def test_blocks_see_that_neighbours_are_alike() -> None:
    rng = random.Random(2)
    slow = [value for value in (rng.gauss(0, 1) for _ in range(20)) for _ in range(4)]
    shuffled = rng.sample(slow, len(slow))
    assert latency.median_error(slow) > 1.2 * latency.median_error(shuffled)
