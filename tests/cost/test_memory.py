"""Memory: what is counted is what the work needs, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.case import Case
from harness.cost.memory import Counted, Memory, peak_memory
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.generation.generate import Pictures, generate
from harness.generation.prompts import Prompts
from harness.pruning.prune import prune
from harness.surgery.masks import masked
from harness.targets.target import Target
from harness.workloads.scenes import scenes

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
    with Counted(torch.device("cuda")) as peak:
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


def test_what_is_held_counts_once() -> None:
    held = torch.zeros(1_000_000)
    with peak_memory(CPU, [held, held.view(-1)[:10]]) as peak:
        _ = held.view(10, -1) + 1
    assert peak.tensors == pytest.approx(8.0)


def test_the_figure_of_a_pipeline_is_that_of_its_whole_generation() -> None:
    """The control is a count of the whole generation. Masked cases share it; it is measured once, in one step."""
    target = Workbench(Setup(scenes(6), "cpu", 2)).target
    few = replace(target, protocol=replace(target.protocol, num_inference_steps=3))
    texts, prompts, made = [f"a red circle {i}" for i in range(6)], Prompts(target), []
    with peak_memory(CPU) as whole:
        pictures = generate(few, texts, 2, lambda _: None, None, prompts)

    def again(quick: Target, captions: Sequence[str]) -> Pictures:
        made.append((len(captions), quick.protocol.num_inference_steps))
        return generate(quick, captions, 2, lambda _: None, None, prompts)

    memory = Memory()
    first = memory.of(few, texts, pictures, prompts, again)
    assert first == pytest.approx(whole.tensors, abs=1e-3)
    with masked(target.components, prune(target, Case("scenes", "unet", "magnitude", "all", (0.5,)))):
        assert memory.of(few, texts, pictures, prompts, again) == first
    assert made == [(2, 1)]
    one = memory.of(few, texts[:1], replace(pictures, images=pictures.images[:1], batch_size=1), prompts, again)
    assert one is not None and first is not None and one < first and made == [(2, 1), (1, 1)]


def test_a_batch_that_does_not_fit_any_more_has_no_figure() -> None:
    target = Workbench(Setup(scenes(5), "cpu", 2)).target
    pictures = Pictures(torch.zeros(5, 3, 8, 8), torch.zeros(5), 2)
    halved = replace(pictures, batch_size=1)
    assert Memory().of(target, ["a"] * 5, pictures, Prompts(target), lambda quick, captions: halved) is None


def test_a_gpu_counts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator's peak is the figure, without what it held before."""
    for name, value in (("reset_peak_memory_stats", None), ("memory_allocated", 3e6), ("max_memory_allocated", 5e6)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    with peak_memory(torch.device("cuda"), [torch.zeros(1000)]) as peak:
        pass
    assert peak.tensors == 2
