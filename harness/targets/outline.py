"""Targets without weights: their networks are on torch's meta device, which has shapes and no values."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError, reason
from harness.scenes.weights import PIPELINE
from harness.targets import TARGETS, layout, loading
from harness.targets.resolve import EMBEDDED
from harness.targets.spec import TargetSpec
from harness.targets.target import Target, quiet, wrap

META = torch.device("meta")


def outline(spec: TargetSpec) -> Target:
    """Return a target without weights, from its configuration files.

    Args:
        spec: A built-in target or a folder.

    Raises:
        HarnessError: The target is a Hub id, or its configuration describes no pipeline.
    """
    quiet()
    if spec.kind == "hub":
        raise HarnessError(f"--plan reads local files only, and {spec.place} is a Hub id; give a folder that holds it")
    if spec.kind == "built" and spec.place != EMBEDDED:
        module, _, function = TARGETS[spec.place].partition(":")
        with META:
            target: Target = getattr(importlib.import_module(module), function)(META, spec)
    else:
        given = Path(spec.place) if spec.kind == "folder" else PIPELINE
        target = wrap(spec.name, _pipeline(spec.weights / "pipeline" if spec.weights else given), "", META)
    dtype = getattr(torch, spec.dtype) if spec.dtype else target.dtype
    for part in target.pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, dtype)
    _keep_times_on_the_cpu(target.pipeline.scheduler)
    return target


def _pipeline(folder: Path) -> Any:
    import diffusers

    layout.check(folder)
    layout.check_class(folder / layout.INDEX)
    weights = layout.weights_of(folder)
    dtype = layout.stored_dtype(weights, layout.variant_of(weights))
    # The libraries fail with errors of any kind on the files of strangers.
    try:
        networks = {
            # The `to` of diffusers would warn of layers that may have to stay in float32.
            name: torch.nn.Module.to(loading.described(kind, folder / name), dtype)
            for name, kind in loading.networks_of(folder).items()
        }
        with loading.silent():
            return diffusers.DiffusionPipeline.from_pretrained(
                folder, local_files_only=True, low_cpu_mem_usage=find_spec("accelerate") is not None, **networks
            )
    except Exception as error:
        raise HarnessError(f"{folder} cannot be planned ({reason(error)}); save the pipeline again") from error


def _keep_times_on_the_cpu(scheduler: Any) -> None:
    """Keep a scheduler's timesteps on the CPU: it looks values up by them."""
    given = scheduler.set_timesteps

    @functools.wraps(given)
    def on_cpu(*values: Any, device: Any = None, **more: Any) -> None:
        given(*values, device="cpu", **more)

    scheduler.set_timesteps = on_cpu
