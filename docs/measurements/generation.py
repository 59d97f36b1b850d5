"""How fast a pipeline of true size makes pictures here, against what the device can do at best.

    .venv/bin/python docs/measurements/generation.py [--target sd2_untrained|FOLDER] [--dtype bfloat16]
        [--pictures 16] [--batch-size 8] [--steps 20 50] [--channels-last]

Prints, for every number of steps: pictures per second, operations per second and their share of the rate of one large
matrix product, and the device's peak memory. Weights do not matter for that: `sd2_untrained` needs no download.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.quality.generate import generate
from harness.targets import TARGETS
from harness.targets.base import choose_device, load
from harness.targets.folder import load as load_folder


def synchronised(device: torch.device) -> float:
    """Return the time once everything asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Return the operations per second of products of two large square matrices, best of several."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = synchronised(device)
        a @ b
        best = max(best, 2 * size**3 / (synchronised(device) - start))
    return best


def main() -> None:
    """Print a line per number of steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="sd2_untrained")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    device, dtype = choose_device(options.device), getattr(torch, options.dtype)
    if options.target in TARGETS:
        target = load(options.target, device)
        target.pipeline.to(dtype)
    else:
        target = load_folder(Path(options.target), device, dtype)
    if options.channels_last:
        for module in (target.denoiser, target.pipeline.vae):
            module.to(memory_format=torch.channels_last)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    rate = matmul_rate(device, dtype)
    print(f"{options.target}, {options.dtype}, batches of {options.batch_size}, {name}, torch {torch.__version__}")
    print(f"matrix products: {rate / 1e12:.3f} TFLOP/s")
    captions = [f"picture {i} of a red cup beside a blue bus" for i in range(options.pictures)]
    one = replace(target, protocol=replace(target.protocol, num_inference_steps=1))
    for steps in options.steps:
        timed = replace(target, protocol=replace(target.protocol, num_inference_steps=steps))
        with FlopCounterMode(display=False) as first:
            generate(one, captions[:1], 1, lambda _: None)
        if steps > 1:
            with FlopCounterMode(display=False) as second:
                two = replace(target, protocol=replace(target.protocol, num_inference_steps=2))
                generate(two, captions[:1], 1, lambda _: None)
            flops = first.get_total_flops() + (steps - 1) * (second.get_total_flops() - first.get_total_flops())
        else:
            flops = first.get_total_flops()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start = synchronised(device)
        images = generate(timed, captions, options.batch_size, lambda _: None).images
        took = synchronised(device) - start
        done = flops * options.pictures / took
        peak = f", peak {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""
        speed = f"{options.pictures / took:.4f} pictures/s, {flops / 1e12:.1f} TFLOP a picture"
        share = f"{done / rate:.0%} of the rate of matrix products"
        print(f"{steps:>3} steps at {images.shape[-1]} px: {speed}, {share}{peak}", flush=True)


if __name__ == "__main__":
    main()
