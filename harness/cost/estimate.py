"""What pictures will cost: counted on a target without weights, and timed on weights of zeros."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.cost.latency import synchronised
from harness.cost.memory import Counted
from harness.errors import HarnessError, reason
from harness.generation.call import call
from harness.surgery.layers import matrix, prunable
from harness.targets.scenes import plain_attention
from harness.targets.target import Target
from harness.workloads.scenes import NAME as SCENES

CAPTION = "a red circle"
# A longer generation is timed in so many steps, and extended to all.
TIMED_STEPS = 8


@dataclass(frozen=True)
class Estimate:
    """The cost of pictures."""

    operations: float
    """Floating point operations per picture. A product and its addition are two."""
    weights: int
    """Bytes of the pipeline's weights."""
    tensors: float
    """Bytes at once while one batch is made."""
    picture: int
    """Bytes of a picture as pixels."""


def estimate(target: Target, batch_size: int) -> Estimate:
    """Count the operations and tensors of a target's protocol.

    Args:
        target: A target on the meta device, see `harness.targets.outline`.
        batch_size: Pictures at once.

    Raises:
        HarnessError: The pipeline needs values, which the meta device does not have.
    """
    steps, fewest = target.protocol.num_inference_steps, target.family.fewest_steps
    try:
        with torch.inference_mode():
            first = _operations(target, fewest)
            total = first if steps <= fewest else first + (steps - fewest) * (_operations(target, fewest + 1) - first)
            with Counted(target.device) as counted:
                pixels = _pictures(target, fewest, batch_size)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, HarnessError) as error:
        raise HarnessError(f"--plan cannot count {target.name} ({reason(error)}); leave --plan out") from error
    weights = sum(p.numel() * p.element_size() for part in _parts(target) for p in part.parameters())
    return Estimate(total, weights, counted.tensors * 1e6, pixels[0].numel())


def pruned_bytes(target: Target, component: str, layers: str) -> int:
    """Return the bytes that pruning a component takes beside it: pruned weights, masks, and a copy of the dense ones.

    Args:
        target: The target, on any device.
        component: A name of `target.components`.
        layers: A choice of layers.
    """
    weights = [matrix(layer) for layer in prunable(target.components[component], layers, target.family.kinds).values()]
    return sum(weight.numel() * (2 * weight.element_size() + 1) for weight in weights)


def seconds(target: Target, batch_size: int, device: torch.device) -> float:
    """Return the time of a picture on a device, from a target without weights. Its weights become zeros there.

    Args:
        target: A target on the meta device. It is moved, and cannot be counted afterwards.
        batch_size: Pictures at once.
        device: The device.

    Returns:
        Seconds.
    """
    for part in _parts(target):
        part.to_empty(device=device)
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.data.zero_()
    if target.name == SCENES:
        plain_attention(target.pipeline, device)
    here = replace(target, device=device)
    steps, fewest = target.protocol.num_inference_steps, target.family.fewest_steps

    def timed(few: int) -> float:
        work = synchronised(device, lambda: _pictures(here, few, batch_size))
        times = []
        for _ in range(2):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    with torch.inference_mode():
        few = max(fewest, min(steps, TIMED_STEPS))
        least = timed(fewest)
        most = timed(few)
    more = (steps - few) * (most - least) / (few - fewest) if few > fewest else 0.0
    return (most + more) / batch_size


def _parts(target: Target) -> Iterator[nn.Module]:
    return (part for part in target.pipeline.components.values() if isinstance(part, nn.Module))


def _operations(target: Target, steps: int) -> float:
    with FlopCounterMode(display=False) as counter:
        _pictures(target, steps, 1)
    return float(counter.get_total_flops())


def _pictures(target: Target, steps: int, count: int) -> Tensor:
    """Return pictures `[count, 3, h, w]`; their values mean nothing."""
    latents = call(target, [f"{CAPTION} {i}" for i in range(count)], steps, "latent")
    decoder = target.pipeline.vae
    made: Tensor = decoder.decode(latents.to(decoder.dtype), return_dict=False)[0]
    return made
