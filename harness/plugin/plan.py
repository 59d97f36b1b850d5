"""`--plan`: what a run would make and cost. Configurations are read; no weights are loaded, and no case runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.schedule import dealt
from harness.plugin.settings import Settings

# Weights of at most so many bytes are made of zeros and timed on a CPU where --rate is not given.
SMALL = 10**9


def show(settings: Settings, cases: Sequence[Case | None], line: Callable[[str], None]) -> None:
    """Print the plan of every target.

    Args:
        settings: The run's settings.
        cases: The case of every test of the run; None for tests of latency, of the core, and of claims.
        line: Prints a line.

    Raises:
        pytest.UsageError: A target cannot be planned.
    """
    known = [case for case in cases if case is not None]
    try:
        for target in dict.fromkeys(case.target for case in known):
            for text in lines(settings, target, [case for case in known if case.target == target]):
                line(text)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    others = len(cases) - len(known)
    if others:
        line(f"{others} tests of latency, of the core's speed, and of claims come on top; their time is not estimated")


def lines(settings: Settings, target: str, cases: Sequence[Case]) -> Iterator[str]:
    """Yield the plan of one target.

    Args:
        settings: The run's settings.
        target: The target's name in ids.
        cases: The quality cases of the run.

    Raises:
        HarnessError: The target has no local files, or cannot be counted.
    """
    from harness.cost import estimate
    from harness.targets.outline import outline

    workload = settings.workload(target)
    empty = replace(outline(workload.target), protocol=workload.protocol)
    batch, captions = min(settings.batch_size, len(workload.captions)), len(workload.captions)
    cost = estimate.estimate(empty, batch)
    each = cost.operations / 1e12
    beside = max(
        (sum(estimate.pruned_bytes(empty, name, case.layers) for name in case.components) for case in cases
         if not case.is_dense and not case.candidate), default=0,
    )  # fmt: skip
    took = _seconds(settings, each, cost.weights, lambda device: estimate.seconds(empty, batch, device))
    yield f"plan of {target}: no weights are loaded, and no case runs"
    pictures = len(cases) * captions
    yield f"  {len(cases):,} cases × {captions:,} captions = {pictures:,} pictures × {_digits(each)} TFLOP = " + amount(
        pictures * each
    )
    yield f"    {'component':<16}{'method':<18}{'cases':>6}{'pictures':>12}{'TFLOP':>16}{'time':>14}"
    for (component, method), count in Counter((case.component, case.method) for case in cases).items():
        made = count * captions
        alone = duration(made * took) if took is not None else "unknown"
        yield f"    {component:<16}{method:<18}{count:>6}{made:>12,}{_column(made * each):>16}{alone:>14}"
    device = cost.weights + beside + cost.tensors
    yield (
        f"  memory of a worker's device: {device / 1e9:.2f} GB: {cost.weights / 1e9:.2f} GB of weights, "
        f"{beside / 1e9:.2f} GB while they are pruned, {cost.tensors / 1e9:.2f} GB of tensors in a batch; "
        "scorer and calibration come on top"
    )
    on_disk = cost.picture * pictures / 1e9 if settings.images is not None or settings.store is not None else 0.0
    what = (
        f"up to {on_disk:,.1f} GB of pictures" if on_disk else "no pictures are kept (--images and --store keep them)"
    )
    yield f"  disk: {what}"
    yield f"  time: {total_time(settings, cases, captions, took)}"


def _digits(value: float) -> str:
    """Return three digits of a number, zeros at the end too."""
    return f"{value:#.3g}".rstrip(".")


def _column(tflop: float) -> str:
    return f"{tflop:,.0f}" if tflop >= 100 else f"{tflop:.3g}"


def amount(tflop: float) -> str:
    """Return a number of TFLOP in words: "134.5 million TFLOP"."""
    for unit, size in (("million ", 1e6), ("thousand ", 1e3)):
        if tflop >= size:
            return f"{tflop / size:.4g} {unit}TFLOP"
    return f"{tflop:.4g} TFLOP"


def duration(seconds: float) -> str:
    """Return a time in hours, minutes or seconds."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.3g} seconds"


def _seconds(settings: Settings, each: float, weights: int, timed: Callable[..., float]) -> float | None:
    """Return the time of a picture: by the rate, or timed where the weights are small; else None.

    Args:
        settings: The run's settings.
        each: TFLOP of a picture.
        weights: Bytes of all weights.
        timed: Takes a device, and returns the seconds of a picture there.
    """
    from harness.targets.target import choose_device

    if settings.rate is not None:
        return each / settings.rate
    device = choose_device(settings.device, "--torch-device")
    return timed(device) if weights <= SMALL or device.type == "cuda" else None


def total_time(settings: Settings, cases: Sequence[Case], captions: int, took: float | None) -> str:
    """Return how long the run takes, in words. Ray divides cases among workers; `--shard` deals whole cases out.

    Args:
        settings: The run's settings.
        cases: The quality cases of the run.
        captions: Number of captions.
        took: Seconds of a picture; None where they are unknown.
    """
    if took is None:
        return "unknown; give --rate X, the TFLOP/s that a worker reaches (`python tools/generation.py` measures it)"
    # The dense model always runs. Its pictures are made twice, because its row compares two batch sizes.
    units = [2.0] + [1.0 for case in cases if not case.is_dense]
    workers = settings.cluster.workers or 1
    sums = [0.0] * workers
    for worker, unit in zip(dealt(units, workers), units, strict=True):
        sums[worker] += unit
    how = f"at {settings.rate:g} TFLOP/s each" if settings.rate is not None else f"{took:.3g} s a picture, timed now"
    longest = sum(units) / workers if settings.executor == "ray" else max(sums)
    said = f"{duration(longest * captions * took)} with {workers} worker{'s' * (workers > 1)}, {how}"
    return said + "; the dense pictures are made twice. Pruning and scoring come on top"
