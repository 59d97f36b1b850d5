"""Calibrate a pipeline once, for every method, sparsity and pattern."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch

from harness import digests
from harness.clock import Clock
from harness.errors import HarnessError
from harness.generation.generate import out_of_memory, sample
from harness.generation.prompts import counted, encode
from harness.pruning.room import NoRoom, available, check_room, gram_bytes
from harness.surgery.hooks import Collector, collecting
from harness.targets.spec import Protocol
from harness.targets.target import Target
from pruners.obsdiff import step_weights
from pruners.types import LayerStats

PADDING = ("counted", "dropped")
# How many copies of the largest Gram matrix exist at once: the matrix and its next sum, or its factor.
COPIES = 3

Progress = Callable[[str], None]


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
    sums: bool
    """Whether sums were taken."""
    by_steps: bool
    """Whether the denoiser's inputs were weighted by denoising step."""


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
        size = sum(part.nbytes for s in every.values() for part in (s.squares, s.gram, s.sums) if part is not None)
        free = available(torch.device("cpu"))
        if free is None or size > free / 2:
            return self
        moved = {key: _on_cpu(stats) for key, stats in every.items()}
        components = {c: {n: moved[id(s)] for n, s in by_layer.items()} for c, by_layer in self.components.items()}
        return replace(self, components=components)


def _on_cpu(stats: LayerStats) -> LayerStats:
    gram, sums = (None if part is None else part.cpu() for part in (stats.gram, stats.sums))
    return LayerStats(stats.rows, stats.squares.cpu(), gram, sums)


def calibrate(
    target: Target,
    components: Sequence[str],
    layers: str,
    captions: Sequence[str],
    gram: bool,
    padding: str = "counted",
    batch_size: int = 16,
    progress: Progress = lambda _: None,
    sums: bool = False,
    by_steps: bool = False,
    only: Mapping[str, Collection[str]] | None = None,
) -> Calibration:
    """Run the pipeline as it is on captions, and collect the statistics of every prunable layer.

    The denoiser runs as in sampling: at every step, and with and without the caption where guidance is on; both count.
    Text encoders read the captions and the empty text of guidance. A first pass over one caption shows which layers
    share an input, so that the memory of the Gram matrices is known before they are allocated. If a batch of captions
    does not fit into memory, batches are halved and calibration starts again.

    Args:
        target: The pipeline, usually dense.
        components: The components to calibrate.
        layers: A choice of layers, a name of `harness.case.LAYERS`.
        captions: One or more.
        gram: Whether Gram matrices are taken.
        padding: "counted" counts the padding tokens of text encoders, as the reference study does; "dropped" does not.
        batch_size: Captions at once.
        progress: Called with a short line about the current work.
        sums: Whether sums are taken.
        by_steps: Whether early steps of the denoiser weigh more, see `pruners.obsdiff.step_weights`.
        only: Component → names of layers; its other layers are left out. None: all are calibrated.

    Raises:
        NoRoom: The Gram matrices, or a single caption, do not fit into memory.
        HarnessError: There is no caption, `padding` is unknown, or the pipeline cannot be calibrated.
    """
    if padding not in PADDING:
        raise HarnessError(f"--padding {padding} is unknown; use {' or '.join(PADDING)}")
    if not captions:
        raise HarnessError("--calibration-captions holds no caption; give a file with at least one")
    only = only or {}
    alone = _first_pass(target, components, layers, captions[:1], gram, only, progress)
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
                        sums=sums,
                        kinds=target.family.kinds,
                        only=only.get(name),
                    )
                )
                for name in components
            }
            at_step = _weigher(target, collectors) if by_steps else None
            if _collected(target, components, captions, batch_size, progress, at_step):
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
        gram, sums, by_steps,
    )  # fmt: skip
    taken = {c: {name: seen.sums[slot] for name, slot in seen.slots.items()} for c, seen in collectors.items()}
    return Calibration(about, taken)


def _weigher(target: Target, collectors: Mapping[str, Collector]) -> Callable[[int], None]:
    """Return a function that takes the number of the coming step and sets how much the denoiser's inputs count."""
    weights = step_weights(target.protocol.num_inference_steps)

    def at_step(step: int) -> None:
        for name, collector in collectors.items():
            if not name.startswith("text_encoder"):
                collector.weight = weights[min(step, len(weights) - 1)]

    return at_step


def _first_pass(
    target: Target,
    components: Sequence[str],
    layers: str,
    captions: Sequence[str],
    gram: bool,
    only: Mapping[str, Collection[str]],
    progress: Progress,
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
            name: stack.enter_context(
                collecting(
                    target.components[name],
                    layers,
                    gram,
                    measure=False,
                    kinds=target.family.kinds,
                    only=only.get(name),
                )
            )
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
    target: Target,
    components: Sequence[str],
    captions: Sequence[str],
    batch_size: int,
    progress: Progress,
    at_step: Callable[[int], None] | None,
) -> bool:
    """Run all captions; return False where memory was not enough."""
    clock = Clock(len(captions))
    for first in range(0, len(captions), batch_size):
        clock.begin(first)
        progress(f"calibrating, {first}/{len(captions)} captions{clock.left(first)}")
        steps, batch = target.protocol.num_inference_steps, captions[first : first + batch_size]
        if not _fits(target, components, batch, steps, at_step):
            return False
    return True


def _fits(
    target: Target,
    components: Sequence[str],
    captions: Sequence[str],
    steps: int,
    at_step: Callable[[int], None] | None = None,
) -> bool:
    """Run a batch; return False where memory was not enough."""
    try:
        _run(target, components, captions, steps, at_step)
    except RuntimeError as error:
        if out_of_memory(error):
            return False
        raise
    return True


@torch.no_grad()
def _run(
    target: Target,
    components: Sequence[str],
    captions: Sequence[str],
    steps: int,
    at_step: Callable[[int], None] | None = None,
) -> None:
    """Run the part of the pipeline that the components need: text encoders alone, or sampling without decoding."""
    if all(name.startswith("text_encoder") for name in components):
        encode(target, captions)
    elif at_step is None:
        sample(target, captions, steps)
    else:
        at_step(0)
        sample(target, captions, steps, lambda step, _: at_step(step + 1))
