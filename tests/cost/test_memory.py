"""Memory: what is counted is what the work needs, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.cost.memory import peak_memory

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


def test_tensors_of_another_device_do_not_count() -> None:
    with peak_memory(torch.device("cuda")) as peak:
        assert (torch.zeros(1000) + 1).sum() == 1000
    assert peak.tensors == 0


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
