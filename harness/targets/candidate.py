"""Pipelines of other tools that are measured against a target: `--candidate [NAME=]DIR`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.targets import layout, resolve
from harness.targets.spec import TargetSpec

if TYPE_CHECKING:
    from harness.targets.target import Target


def named(text: str, target: TargetSpec) -> TargetSpec:
    """Return the candidate that `--candidate` gives. Reads the headers of its files; loads nothing.

    Args:
        text: `DIR`, or `NAME=DIR`. Without a name, the folder's name is the candidate's.
        target: The target that the candidate is measured against. Its dtype and its memory layout apply here too.

    Returns:
        The candidate; its name is the one in ids.

    Raises:
        HarnessError: There is no such folder, it holds no complete pipeline, or the name cannot be part of an id.
    """
    name, equals, place = text.partition("=")
    if not equals or Path(text).is_dir():
        name, place = "", text
    if not place.strip() or not Path(place).is_dir():
        raise HarnessError(f"--candidate {text} is no folder; give a folder that save_pretrained of diffusers wrote")
    folder = Path(place).resolve()
    layout.check(folder)
    layout.check_class(folder / layout.INDEX)
    short = resolve.short_name(name or folder.name)
    if (name and short != name) or not re.search(r"\w", short) or len(short.encode()) > resolve.LONGEST:
        raise HarnessError(
            f"--candidate {text}: {name or folder.name!r} cannot be part of an id; give --candidate NAME={place}, with "
            "a NAME of letters, digits, _ and ."
        )
    dtype = "float32" if target.name == resolve.EMBEDDED else target.dtype
    return TargetSpec(short, "folder", str(folder), dtype=dtype, channels_last=target.channels_last)


def load(spec: TargetSpec, target: Target) -> Target:
    """Load a candidate beside its target. It gets the target's name and protocol, and its own of everything else.

    Args:
        spec: The candidate, as `named` returns it.
        target: The loaded target, with the protocol of the workload.

    Returns:
        The candidate, on the target's device.

    Raises:
        HarnessError: The pipeline has another class, another shape of latents or of pictures, or cannot be loaded. The
            message names the candidate.
    """
    what = f"--candidate {spec.name}: {spec.place}"
    kind, wanted = layout.content_of(Path(spec.place) / layout.INDEX)["_class_name"], type(target.pipeline).__name__
    if kind != wanted:
        raise HarnessError(f"{what} is a {kind}, and {target.name} is a {wanted}; give a pipeline of that class")
    with naming(spec.name):
        loaded = resolve.load(spec, target.device)
    for part, ours, theirs in (
        ("latents", _latents(loaded), _latents(target)),
        ("pixels per latent", _scale(loaded), _scale(target)),
    ):
        if ours != theirs:
            raise HarnessError(
                f"{what} has {part} {ours}, and {target.name} has {theirs}: their pictures do not compare; give a "
                "pipeline that was made from the target"
            )
    if target.name == resolve.EMBEDDED:
        from harness.targets.scenes import plain_attention

        plain_attention(loaded.pipeline, target.device)
    return replace(loaded, name=target.name, protocol=target.protocol)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let a HarnessError of the body start with the option and the candidate's name."""
    try:
        yield
    except HarnessError as error:
        if str(error).startswith("--candidate"):
            raise
        raise HarnessError(f"--candidate {name}: {error}") from error


def _latents(target: Target) -> tuple[int, ...]:
    return target.family.latent_shape(target.denoiser.config)


def _scale(target: Target) -> object:
    return getattr(target.pipeline, "vae_scale_factor", None)
