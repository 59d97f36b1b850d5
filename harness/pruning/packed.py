"""Pipelines with packed weights: a folder for `prunegate prune --packed`, and the way back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError

from harness import digests, files
from harness.components import COMPONENTS
from harness.errors import HarnessError
from harness.pruning import export_record, packed_file
from harness.pruning.export_record import FILE
from harness.targets import folder as pipelines
from harness.targets.layout import PACKED
from harness.targets.target import choose_device


def pack(folder: Path) -> dict[str, str]:
    """Pack the weights of all prunable components in a saved pipeline. A file that would not get smaller stays.

    Args:
        folder: A folder that `save_pretrained` of diffusers has just written. Its files are replaced.

    Returns:
        Path in the folder → digest of the dense tensors, for every packed file.

    Raises:
        OSError, SafetensorError: A file cannot be read or written.
    """
    packed = {}
    for path in sorted(path for name in COMPONENTS for path in (folder / name).glob("*.safetensors")):
        place = path.with_name(path.name + PACKED)
        digest = packed_file.pack(path, place)
        if digest is not None:
            path.unlink()
            packed[place.relative_to(folder).as_posix()] = digest
    return packed


def weight_bytes(folder: Path) -> int:
    """Return the bytes of the weights of all prunable components, packed or not."""
    places = (path for name in COMPONENTS for path in (folder / name).glob("*.safetensors*"))
    return sum(path.stat().st_size for path in places if path.suffix != ".json")


def unpack(folder: Path, out: Path) -> Path:
    """Write the dense pipeline of a packed one, bit for bit.

    The folder appears when all of it is written, or not at all. It is equal to the folder that `prunegate prune`
    without `--packed` writes.

    Args:
        folder: A folder that `prunegate prune --packed` wrote.
        out: A folder that does not exist yet, or is empty.

    Returns:
        `out`.

    Raises:
        HarnessError: A file is missing or damaged, nothing is packed, or `out` cannot be written. The message names the
            file.
    """
    record = export_record.read(folder)
    if not record.packed:
        raise HarnessError(
            f"{folder / FILE} names no packed file, so there is nothing to unpack; load {folder} as it is"
        )
    files.check_new_folder("--out", out)
    if Path(os.path.realpath(folder)) in Path(os.path.realpath(out)).parents:
        raise HarnessError(f"--out {out} lies in the folder that is unpacked; name a folder elsewhere")
    try:
        with files.new_folder(out) as partial:
            for name, digest in record.files.items():
                _copy(folder, name, digest, record.packed, partial)
            export_record.write(partial, replace(record, packed={}))
    except (OSError, SafetensorError) as error:
        raise HarnessError(
            f"--out {out} cannot be written ({error}); nothing was unpacked. Free some space, or change --out"
        ) from error
    return out


def _copy(folder: Path, name: str, digest: str, packed: Mapping[str, str], partial: Path) -> None:
    """Copy one file of a packed pipeline, or unpack it. The file is compared with its digest first."""
    source = folder / name
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise HarnessError(f"{folder / FILE} names the file {name}, which lies outside of {folder}; prune again")
    try:
        same = digests.of_file(source) == digest
    except OSError as error:
        raise HarnessError(f"{source} cannot be read ({error.strerror or error}); copy or prune again") from error
    if not same:
        raise HarnessError(f"{source} is damaged: {FILE} has another digest of it; copy or prune again")
    place = partial / name.removesuffix(PACKED) if name in packed else partial / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if name not in packed:
        shutil.copyfile(source, place)
    elif packed_file.unpack(source, place) != packed[name]:
        raise HarnessError(f"{source} does not hold the tensors that were packed; prune again")


def load_packed(folder: Path, device: str = "cpu") -> Any:
    """Load the pipeline of a packed folder. The dense files lie in a temporary folder while it loads.

    Args:
        folder: A folder that `prunegate prune --packed` wrote.
        device: "cpu", "cuda", "cuda:1", …; "auto" is the GPU where there is one, else the CPU.

    Returns:
        The diffusers pipeline, in the dtype in which it was saved.

    Raises:
        HarnessError: As `unpack`; or the device cannot be used.
    """
    chosen: torch.device = choose_device(device)
    with tempfile.TemporaryDirectory(prefix="prunegate-unpacked-") as place:
        return pipelines.load(unpack(folder, Path(place) / "pipeline"), folder.name, chosen).pipeline
