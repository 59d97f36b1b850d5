"""One calibration of a pipeline serves every method, sparsity and pattern: take it, save it, load it, check it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import digests
from harness.clock import Clock
from harness.errors import HarnessError
from harness.quality.generate import out_of_memory, sample
from harness.surgery.calibrate import Collector, collecting
from harness.surgery.layers import matrix, prunable
from harness.targets.base import Target
from pruners.types import LayerStats

PADDING = ("counted", "dropped")
# Of the largest Gram matrix, at most at once: its sum with the next, or its factor.
COPIES = 3


class NoRoom(HarnessError):
    """What a calibration collects does not fit into memory."""


@dataclass(frozen=True)
class Calibration:
    """The statistics of a model's layers, and what they were taken from.

    about: plain JSON values: model digest, captions, protocol, padding, layers. components: component → layer →
    statistics; layers with one input hold the same object.
    """

    about: dict[str, Any]
    components: dict[str, dict[str, LayerStats]]

    def on_cpu(self) -> Calibration:
        """Return the same on the CPU, or as it is where that has no room: a GPU's memory is for pictures."""
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
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Run the dense pipeline on captions and collect the statistics of every prunable layer.

    The U-Net sees what it sees when it samples: every step, with and without the caption where guidance is on, both
    counted. The text encoder sees the captions and the empty text of guidance; its padding tokens are "counted", as in
    the reference study, or "dropped". A first pass over one caption finds out which layers share an input, so that what
    the Gram matrices will take is known, and checked, before any is allocated. A batch of captions that does not fit
    into memory is halved, and all begin anew. Raises NoRoom where there is no memory for the Gram matrices or a single
    caption, HarnessError for no captions.
    """
    if padding not in PADDING:
        raise HarnessError(f"padding is {padding!r}, wanted one of {', '.join(PADDING)}")
    if not captions:
        raise HarnessError("calibration wants at least one caption")

    def eyes(measure: bool, stack: ExitStack) -> dict[str, Collector]:
        def until_end(component: str) -> Callable[[Tensor], Tensor]:
            # `text_encoder_2` reads what `tokenizer_2` wrote.
            end = getattr(target.pipeline, component.replace("text_encoder", "tokenizer")).eos_token_id

            def counted(ids: Tensor) -> Tensor:
                # A text ends at its first end-of-text token; what follows fills the row up.
                ends = (ids == end).long()
                counting: Tensor = ends.cumsum(1) == ends
                return counting

            return counted

        return {
            name: stack.enter_context(
                collecting(
                    target.components[name],
                    layers,
                    gram,
                    measure,
                    until_end(name) if name.startswith("text_encoder") and padding == "dropped" else None,
                )
            )
            for name in components
        }

    with ExitStack() as stack:
        found = eyes(False, stack)
        try:
            if not _fits(target, components, captions[:1], 1):
                raise _no_room_for_one(target)
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise HarnessError(
                f"{type(target.pipeline).__name__} cannot be calibrated ({error}); "
                "magnitude and random need no calibration"
            ) from error
    if gram:
        needed = {name: gram_bytes(collector.widths) for name, collector in found.items()}
        for name, size in needed.items():
            progress(f"the Gram matrices of {name} take {size / 1e9:.2f} GB")
        largest = max((gram_bytes([width]) for seen in found.values() for width in seen.widths), default=0)
        # Adding up and factoring make copies, of one layer at a time.
        check_room(sum(needed.values()) + COPIES * largest, target.device, " and ".join(needed))
    while True:
        with ExitStack() as stack:
            found = eyes(True, stack)
            if _collected(target, components, captions, batch_size, progress):
                break
        found.clear()
        if batch_size == 1:
            raise _no_room_for_one(target)
        batch_size //= 2
        progress(f"out of memory: calibrating on batches of {batch_size}")
        if target.device.type == "cuda":
            torch.cuda.empty_cache()
    about = {
        "target": target.name,
        "model": target.digest,
        "captions": digests.of_value(list(captions)),
        "n": len(captions),
        "protocol": asdict(target.protocol),
        "padding": padding,
        "layers": layers,
        "gram": gram,
    }
    return Calibration(
        about, {c: {name: seen.found[slot] for name, slot in seen.slots.items()} for c, seen in found.items()}
    )


def _no_room_for_one(target: Target) -> NoRoom:
    return NoRoom(f"there is not enough memory on {target.device} to calibrate on one caption at a time")


def _collected(
    target: Target, components: Sequence[str], captions: Sequence[str], batch_size: int, progress: Callable[[str], None]
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


@torch.inference_mode()
def _run(target: Target, components: Sequence[str], captions: Sequence[str], steps: int) -> None:
    """Run what the components need: text encoders alone, or the sampling loop without decoding."""
    guidance = target.protocol.guidance_scale
    if all(name.startswith("text_encoder") for name in components):
        encode = target.pipeline.encode_prompt
        # Some pipelines insist on a text for every encoder; None has the others read the same one.
        others = {name: None for name in ("prompt_2", "prompt_3") if name in inspect.signature(encode).parameters}
        encode(
            list(captions),
            **others,
            device=target.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guidance > 1,
        )
        return
    sample(target, captions, steps)


def fit(calibration: Calibration, target: Target, components: Sequence[str], layers: str, gram: bool) -> None:
    """Raise HarnessError where a calibration cannot serve: of another model, lacking layers, or Gram matrices."""
    if calibration.about.get("model") != target.digest:
        raise HarnessError(
            f"the calibration was taken from another model ({calibration.about.get('target')}, weights "
            f"{str(calibration.about.get('model'))[:12]}), this is {target.name}, weights {target.digest[:12]}"
        )
    for component in components:
        known = calibration.components.get(component, {})
        for name, layer in prunable(target.components[component], layers).items():
            if name not in known:
                raise HarnessError(f"the calibration has no layer {component}.{name}; make one with --layers {layers}")
            if known[name].squares.shape[1] != matrix(layer).shape[1]:
                raise HarnessError(f"the calibration of {component}.{name} is for another number of inputs")
            if gram and known[name].gram is None:
                raise HarnessError("the calibration has no Gram matrices; make one with --method sparsegpt")


def gram_bytes(widths: list[int]) -> int:
    """Return how many bytes float32 Gram matrices with that many entries take."""
    return 4 * sum(widths)


def check_room(needed: int, device: torch.device, component: str) -> None:
    """Raise NoRoom where fewer than `needed` bytes are free on the device, before anything is allocated."""
    free = available(device)
    if free is not None and needed > free:
        raise NoRoom(
            f"the Gram matrices of {component} need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {device}; "
            "choose a method without them (wanda, magnitude), fewer layers (linear), or a machine with more memory"
        )


def available(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None where the system does not say."""
    if device.type == "cuda":
        # What torch keeps for later is free as well.
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def save(calibration: Calibration, path: Path) -> None:
    """Write statistics as safetensors, every shared one once. Raises HarnessError where the file cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    index: dict[str, dict[str, Any]] = {}
    numbers: dict[int, int] = {}
    for component, by_layer in calibration.components.items():
        index[component] = {}
        for layer, stats in by_layer.items():
            number = numbers.setdefault(id(stats), len(numbers))
            index[component][layer] = [number, stats.rows]
            tensors[f"{number}.squares"] = stats.squares.cpu()
            if stats.gram is not None:
                tensors[f"{number}.gram"] = stats.gram.cpu()
    partial_path = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial_path, {"about": json.dumps(calibration.about), "layers": json.dumps(index)})
        partial_path.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HarnessError(f"{path} cannot be written ({error}); free some space or name another file") from error
    finally:
        partial_path.unlink(missing_ok=True)


def load(path: Path) -> Calibration:
    """Read what `save` wrote. Raises HarnessError where the file is missing, damaged or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stream:
            about = stream.metadata()
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}
        index = json.loads(about["layers"])
        stats = {
            number: LayerStats(rows, tensors[f"{number}.squares"], tensors.get(f"{number}.gram"))
            for by_layer in index.values()
            for number, rows in by_layer.values()
        }
        layers = {c: {layer: stats[number] for layer, (number, _) in by.items()} for c, by in index.items()}
        return Calibration(json.loads(about["about"]), layers)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"{path} is not a calibration file ({error}); make one with --save-calibration") from error
