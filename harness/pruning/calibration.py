"""Calibrate a pipeline once, for every method, sparsity and pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness import digests
from harness.clock import Clock
from harness.errors import HarnessError
from harness.generation.generate import out_of_memory, sample
from harness.generation.prompts import counted, encode
from harness.surgery.hooks import Collector, collecting
from harness.surgery.layers import matrix, prunable
from harness.targets.spec import Protocol
from harness.targets.target import Target
from pruners.types import LayerStats

PADDING = ("counted", "dropped")
# How many copies of the largest Gram matrix exist at once: the matrix and its next sum, or its factor.
COPIES = 3

Progress = Callable[[str], None]


class NoRoom(HarnessError):
    """The statistics do not fit into memory."""


@dataclass(frozen=True)
class About:
    """The model, captions and settings behind the statistics."""

    target: str
    """The target's name."""
    model: str
    """The digest of the dense model."""
    captions: str
    """The digest of the captions, in order."""
    n: int
    """Number of captions."""
    protocol: Protocol
    """Steps, guidance and start noise."""
    padding: str
    """Whether padding tokens of text encoders count: a name of `PADDING`."""
    layers: str
    """The layers that have statistics: "all" or "linear"."""
    gram: bool
    """Whether Gram matrices were taken."""


@dataclass(frozen=True)
class Calibration:
    """The statistics of a model's layers, with their origin."""

    about: About
    """The origin of the statistics."""
    components: dict[str, dict[str, LayerStats]]
    """Component → layer → statistics. Layers with one input hold the same object."""

    def on_cpu(self) -> Calibration:
        """Return the same statistics on the CPU, or as they are if the CPU has no room. Pictures need a GPU's room."""
        every = {id(stats): stats for by_layer in self.components.values() for stats in by_layer.values()}
        size = sum(s.squares.nbytes + (s.gram.nbytes if s.gram is not None else 0) for s in every.values())
        free = available(torch.device("cpu"))
        if free is None or size > free / 2:
            return self
        moved = {
            key: replace(s, squares=s.squares.cpu(), gram=s.gram.cpu() if s.gram is not None else None)
            for key, s in every.items()
        }
        components = {c: {n: moved[id(s)] for n, s in by_layer.items()} for c, by_layer in self.components.items()}
        return replace(self, components=components)


def calibrate(
    target: Target,
    components: Sequence[str],
    layers: str,
    captions: Sequence[str],
    gram: bool,
    padding: str = "counted",
    batch_size: int = 16,
    progress: Progress = lambda _: None,
) -> Calibration:
    """Run the dense pipeline on captions and collect the statistics of every prunable layer.

    The denoiser runs as in sampling: at every step, and with and without the caption where guidance is on; both count.
    Text encoders read the captions and the empty text of guidance. A first pass over one caption shows which layers
    share an input, so that the memory of the Gram matrices is known before they are allocated. If a batch of captions
    does not fit into memory, batches are halved and calibration starts again.

    Args:
        target: The dense pipeline.
        components: The components to calibrate.
        layers: "all" or "linear".
        captions: One or more.
        gram: Whether Gram matrices are taken.
        padding: "counted" counts the padding tokens of text encoders, as the reference study does; "dropped" does not.
        batch_size: Captions at once.
        progress: Called with a short line about the current work.

    Raises:
        NoRoom: The Gram matrices, or a single caption, do not fit into memory.
        HarnessError: There is no caption, `padding` is unknown, or the pipeline cannot be calibrated.
    """
    if padding not in PADDING:
        raise HarnessError(f"--padding {padding} is unknown; use {' or '.join(PADDING)}")
    if not captions:
        raise HarnessError("--calibration-captions holds no caption; give a file with at least one")
    alone = _first_pass(target, components, layers, captions[:1], gram, progress)
    while True:
        with ExitStack() as stack:
            collectors = {
                name: stack.enter_context(
                    collecting(
                        target.components[name],
                        layers,
                        gram,
                        mask=counted(target, name) if padding == "dropped" and name.startswith("text") else None,
                        alone=alone[name],
                    )
                )
                for name in components
            }
            if _collected(target, components, captions, batch_size, progress):
                break
        collectors.clear()
        if batch_size == 1:
            raise _no_room_for_one(target)
        batch_size //= 2
        progress(f"out of memory: calibrating on batches of {batch_size}")
        if target.device.type == "cuda":
            torch.cuda.empty_cache()
    about = About(
        target.name, target.digest, digests.of_value(list(captions)), len(captions), target.protocol, padding, layers,
        gram,
    )  # fmt: skip
    sums = {c: {name: seen.sums[slot] for name, slot in seen.slots.items()} for c, seen in collectors.items()}
    return Calibration(about, sums)


def _first_pass(
    target: Target, components: Sequence[str], layers: str, captions: Sequence[str], gram: bool, progress: Progress
) -> dict[str, set[str]]:
    """Run one caption for one step, and check the memory that calibration will take.

    Returns:
        Component → layers that share no statistics with others.

    Raises:
        NoRoom: One caption or the Gram matrices do not fit into memory.
        HarnessError: The pipeline does not run.
    """
    with ExitStack() as stack:
        seen = {
            name: stack.enter_context(collecting(target.components[name], layers, gram, measure=False))
            for name in components
        }
        try:
            if not _fits(target, components, captions, 1):
                raise _no_room_for_one(target)
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise HarnessError(
                f"{type(target.pipeline).__name__} cannot be calibrated ({error}); choose a method without data "
                "(magnitude, random)"
            ) from error
    if gram:
        _check_memory(seen, target.device, progress)
    return {name: collector.alone for name, collector in seen.items()}


def _check_memory(seen: Mapping[str, Collector], device: torch.device, progress: Progress) -> None:
    needed = {name: gram_bytes(collector.widths) for name, collector in seen.items()}
    for name, size in needed.items():
        progress(f"the Gram matrices of {name} take {size / 1e9:.2f} GB")
    largest = max((gram_bytes([width]) for collector in seen.values() for width in collector.widths), default=0)
    # Summing and factoring make copies of one layer at a time.
    check_room(sum(needed.values()) + COPIES * largest, device, " and ".join(needed))


def _no_room_for_one(target: Target) -> NoRoom:
    return NoRoom(
        f"{target.device}: calibration does not fit into memory, even with one caption at a time; use a "
        "method without data (magnitude, random), or another device"
    )


def _collected(
    target: Target, components: Sequence[str], captions: Sequence[str], batch_size: int, progress: Progress
) -> bool:
    """Run all captions; return False where memory was not enough."""
    clock = Clock(len(captions))
    for first in range(0, len(captions), batch_size):
        clock.begin(first)
        progress(f"calibrating, {first}/{len(captions)} captions{clock.left(first)}")
        if not _fits(target, components, captions[first : first + batch_size], target.protocol.num_inference_steps):
            return False
    return True


def _fits(target: Target, components: Sequence[str], captions: Sequence[str], steps: int) -> bool:
    """Run a batch; return False where memory was not enough."""
    try:
        _run(target, components, captions, steps)
    except RuntimeError as error:
        if out_of_memory(error):
            return False
        raise
    return True


@torch.no_grad()
def _run(target: Target, components: Sequence[str], captions: Sequence[str], steps: int) -> None:
    """Run the part of the pipeline that the components need: text encoders alone, or sampling without decoding."""
    if all(name.startswith("text_encoder") for name in components):
        encode(target, captions)
    else:
        sample(target, captions, steps)


def fit(calibration: Calibration, target: Target, components: Sequence[str], layers: str, gram: bool) -> None:
    """Check that statistics fit a pipeline.

    Args:
        calibration: The statistics, such as those of a file.
        target: The pipeline to prune.
        components: The components to prune.
        layers: "all" or "linear".
        gram: Whether Gram matrices are needed.

    Raises:
        HarnessError: The statistics are of another model, or lack layers or Gram matrices.
    """
    about = calibration.about
    if about.model != target.digest:
        raise HarnessError(
            f"--calibration: the statistics were taken from another model ({about.target}, weights {about.model[:12]}) "
            f"than {target.name}, weights {target.digest[:12]}; make a file of this model with --save-calibration"
        )
    for component in components:
        known = calibration.components.get(component, {})
        for name, layer in prunable(target.components[component], layers).items():
            if name not in known:
                raise HarnessError(
                    f"--calibration: the statistics have no layer {component}.{name}; make a file with "
                    f"--save-calibration, --{component.replace('_', '-')} and --layers {layers}"
                )
            if known[name].squares.shape != (getattr(layer, "groups", 1), matrix(layer).shape[1]):
                raise HarnessError(
                    f"--calibration: the statistics of {component}.{name} have another number of inputs than the "
                    "layer; make a file of this model with --save-calibration"
                )
            if gram and known[name].gram is None:
                raise HarnessError(
                    "--calibration: the statistics have no Gram matrices; make a file with --save-calibration and "
                    "--method sparsegpt"
                )


def gram_bytes(widths: Sequence[int]) -> int:
    """Return the size in bytes of float32 Gram matrices. widths: the number of values of each."""
    return 4 * sum(widths)


def check_room(needed: int, device: torch.device, component: str) -> None:
    """Check that a device has `needed` bytes free, before anything is allocated.

    Raises:
        NoRoom: The device has fewer bytes free.
    """
    free = available(device)
    if free is not None and needed > free:
        raise NoRoom(
            f"the Gram matrices of {component} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {device}; "
            "choose a method without them (wanda, magnitude), fewer layers (linear), or a machine with more memory"
        )


def available(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None where the system does not say."""
    if device.type == "cuda":
        # Memory that torch has reserved but does not use is free as well.
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    try:
        line = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(line[1]) * 1024 if line else None
