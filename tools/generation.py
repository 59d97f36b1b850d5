"""How fast a pipeline of real size makes pictures here, compared with the device's best rate of matrix products.

    python tools/generation.py [--target sd2_untrained|FOLDER|HUB_ID] [--dtype bfloat16] [--pictures 16]
        [--batch-size 8] [--steps 20 50] [--channels-last]

Prints for every number of steps: pictures per second, operations per second and their share of the rate of one large
matrix product, and the device's peak memory. The values of the weights do not matter, so `sd2_untrained`, which needs
no download, will do. See docs/measurements/true_size.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool

if TYPE_CHECKING:
    import torch

    from harness.targets.target import Target


def synchronised(device: torch.device) -> float:
    """Wait until the device is done, and return the time."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Return the operations per second of products of two large square matrices, best of several."""
    import torch

    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = synchronised(device)
        a @ b
        best = max(best, 2 * size**3 / (synchronised(device) - start))
    return best


def with_steps(target: Target, steps: int) -> Target:
    """Return the target with another number of denoising steps."""
    return replace(target, protocol=replace(target.protocol, num_inference_steps=steps))


def operations(target: Target, caption: str, steps: int) -> float:
    """Return the number of operations per picture: counted in a few steps, and extended to all steps."""
    from torch.utils.flop_counter import FlopCounterMode

    from harness.generation.generate import generate

    def counted(few: int) -> int:
        with FlopCounterMode(display=False) as counter:
            generate(with_steps(target, few), [caption], 1, lambda _: None)
        return int(counter.get_total_flops())

    fewest = target.family.fewest_steps
    if steps <= fewest:
        return counted(fewest)
    first, second = counted(fewest), counted(fewest + 1)
    return first + (steps - fewest) * (second - first)


def measure(options: argparse.Namespace) -> int:
    """Print a line per number of steps."""
    import torch

    from harness.generation.generate import generate
    from harness.targets.resolve import load, resolve
    from harness.targets.target import choose_device, quiet

    quiet()
    spec = resolve(options.target, dtype=options.dtype, channels_last=options.channels_last)
    device = choose_device(options.device)
    target = load(spec, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    rate = matmul_rate(device, getattr(torch, options.dtype))
    print(f"{options.target}, {options.dtype}, batches of {options.batch_size}, {name}, torch {torch.__version__}")
    print(f"matrix products: {rate / 1e12:.3f} TFLOP/s")
    captions = [f"picture {i} of a red cup beside a blue bus" for i in range(options.pictures)]
    for steps in options.steps:
        flops = operations(target, captions[0], steps)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start = synchronised(device)
        images = generate(with_steps(target, steps), captions, options.batch_size, lambda _: None).images
        took = synchronised(device) - start
        done = flops * options.pictures / took
        peak = f", peak {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""
        speed = f"{options.pictures / took:.4f} pictures/s, {flops / 1e12:.1f} TFLOP a picture"
        share = f"{done / rate:.0%} of the rate of matrix products"
        print(f"{steps:>3} steps at {images.shape[-1]} px: {speed}, {share}{peak}", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lines; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--target", default="sd2_untrained")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--pictures", type=count, default=16, metavar="N")
    parser.add_argument("--batch-size", type=count, default=8, metavar="N")
    parser.add_argument("--steps", type=count, nargs="+", default=[20, 50], metavar="N")
    parser.add_argument("--channels-last", action="store_true")
    return guarded(lambda: measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
