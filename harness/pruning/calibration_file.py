"""Files of calibration statistics: `--save-calibration` writes them, `--calibration` reads and checks them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness.errors import HarnessError
from harness.pruning.calibration import About, Calibration
from harness.surgery.layers import matrix, prunable
from harness.targets.target import Target
from pruners.stats import finite
from pruners.types import LayerStats

# Component → layer → (number of the layer's statistics in the file, number of rows behind them).
Index = dict[str, dict[str, tuple[int, int]]]


def save(calibration: Calibration, path: Path) -> None:
    """Write statistics as safetensors, whole or not at all. Statistics that layers share are written once.

    Raises:
        HarnessError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    index: Index = {}
    numbers: dict[int, int] = {}
    for component, by_layer in calibration.components.items():
        index[component] = {}
        for layer, stats in by_layer.items():
            number = numbers.setdefault(id(stats), len(numbers))
            index[component][layer] = (number, stats.rows)
            tensors[f"{number}.squares"] = stats.squares.cpu()
            if stats.gram is not None:
                tensors[f"{number}.gram"] = stats.gram.cpu()
            if stats.sums is not None:
                tensors[f"{number}.sums"] = stats.sums.cpu()
    about = msgspec.json.encode(calibration.about).decode()
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        # safetensors makes files that only their owner may read.
        mode = partial.stat().st_mode
        save_file(tensors, partial, {"about": about, "layers": json.dumps(index)})
        partial.chmod(mode)
        partial.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise HarnessError(f"{path} cannot be written ({error}); free some space, or name another file") from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> Calibration:
    """Read a file that `save` wrote.

    Raises:
        HarnessError: The file is missing, damaged or something else.
    """
    try:
        with safe_open(path, "pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}
        about = msgspec.json.decode(metadata["about"], type=About)
        index = msgspec.json.decode(metadata["layers"], type=Index)
        stats = {
            number: LayerStats(
                rows, tensors[f"{number}.squares"], tensors.get(f"{number}.gram"), tensors.get(f"{number}.sums")
            )
            for by_layer in index.values()
            for number, rows in by_layer.values()
        }
    except (OSError, SafetensorError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        reason = f"nothing in it is called {error}" if isinstance(error, KeyError) else error
        raise HarnessError(f"{path} is not a calibration file ({reason}); make one with --save-calibration") from error
    if not all(map(_sound, stats.values())):
        raise HarnessError(
            f"{path} is damaged: its statistics are no sums of squares; make one with --save-calibration"
        )
    return Calibration(
        about, {c: {layer: stats[number] for layer, (number, _) in by.items()} for c, by in index.items()}
    )


def _sound(stats: LayerStats) -> bool:
    """Return whether statistics have the shapes, dtypes and signs of sums of squares."""
    squares, gram = stats.squares, stats.gram
    if stats.rows < 0 or squares.dim() != 2 or squares.dtype != torch.float64:
        return False
    if not finite(squares) or bool((squares < 0).any()):
        return False
    if stats.sums is not None and (stats.sums.shape != squares.shape or not finite(stats.sums)):
        return False
    if gram is None:
        return True
    groups, width = squares.shape
    return gram.shape == (groups, width, width) and gram.is_floating_point() and finite(gram)


def fit(
    calibration: Calibration,
    target: Target,
    components: Sequence[str],
    layers: str,
    gram: bool,
    sums: bool = False,
    by_steps: bool = False,
) -> None:
    """Check that statistics fit a pipeline.

    Args:
        calibration: The statistics, such as those of a file.
        target: The pipeline to prune.
        components: The components to prune.
        layers: A choice of layers, a name of `harness.case.LAYERS`.
        gram: Whether Gram matrices are needed.
        sums: Whether sums are needed.
        by_steps: Whether early steps must weigh more; if not, all steps must weigh the same.

    Raises:
        HarnessError: The statistics are of another model, lack layers, Gram matrices or sums, or weigh steps otherwise.
    """
    about = calibration.about
    if about.model != target.digest:
        raise HarnessError(
            f"--calibration: the statistics were taken from another model ({about.target}, weights {about.model[:12]}) "
            f"than {target.name}, weights {target.digest[:12]}; make a file of this model with --save-calibration"
        )
    for component in components:
        known = calibration.components.get(component, {})
        for name, layer in prunable(target.components[component], layers, target.family.kinds).items():
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
            if sums and known[name].sums is None:
                raise HarnessError(
                    "--calibration: the statistics have no sums of inputs; make a file with --save-calibration and "
                    "--method dsnot"
                )
    if by_steps != about.by_steps:
        raise HarnessError(
            f"--calibration: the statistics weigh {'early' if about.by_steps else 'all'} steps "
            f"{'more' if about.by_steps else 'equally'}, unlike the method; make a file with --save-calibration and "
            "the method itself"
        )
