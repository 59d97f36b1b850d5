"""Turns a name that a person typed into a target. Tests, benchmarks and commands all do so here."""

from __future__ import annotations

import importlib
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.components import BOTH
from harness.errors import HarnessError, reason, unknown
from harness.loaded import check_finite
from harness.targets import TARGETS, layout
from harness.targets.spec import TargetSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from harness.targets.target import Target

# The embedded model: float32 on every machine.
EMBEDDED = "scenes"
# Names of files hold the name, the rest of a case's id and a digest: 255 bytes in all.
LONGEST = 120


def resolve(
    name: str,
    *,
    revision: str | None = None,
    dtype: str | None = None,
    channels_last: bool = False,
    weights: Path | None = None,
) -> TargetSpec:
    """Return the target that a typed name stands for. Nothing is downloaded or loaded.

    Args:
        name: A name of `TARGETS`, a folder that diffusers saved, or a Hub id such as "owner/model"; looked up in this
            order.
        revision: A branch, tag or commit, for a Hub id.
        dtype: "float32", "float16" or "bfloat16" for all components; None: as stored, `scenes` in float32.
        channels_last: Whether convolutions use the memory layout channels_last. For all targets but `scenes`.
        weights: For `scenes`: a folder that `prunegate train-scenes` wrote.

    Raises:
        HarnessError: The name is empty or unknown, a folder holds no loadable pipeline or would have the name of a
            built-in target, or an option does not apply to the target.
    """
    kind = _kind(name)
    if revision and kind != "hub":
        what = "a local folder" if kind == "folder" else "built in"
        raise HarnessError(f"--revision needs a Hub id, and {name} is {what}. Leave it out.")
    if weights and name != EMBEDDED:
        raise HarnessError(f"--weights applies to scenes only, and the target is {name}. Leave one of them out.")
    if name == EMBEDDED:
        if channels_last:
            raise HarnessError(
                "--channels-last applies to your own pipelines only; scenes has a fixed layout. Leave it out."
            )
    if weights and not (weights / "pipeline" / layout.INDEX).is_file():
        raise HarnessError(f"--weights {weights} holds no pipeline; give a folder that `prunegate train-scenes` wrote")
    if kind == "built":
        return TargetSpec(name, kind, name, revision, dtype, channels_last, weights)
    place = name
    if kind == "folder":
        layout.check(Path(name))
        place = str(Path(name).resolve())
    short = short_name(Path(place).name)
    if not any(letter.isalnum() for letter in short) or len(short.encode()) > LONGEST:
        raise HarnessError(
            f"the target {name} would be called {short or 'nothing'} in ids; use a folder whose name has letters or "
            f"digits, and {LONGEST} bytes at most"
        )
    if short in TARGETS:
        raise HarnessError(
            f"the target {name} would have the name {short} in ids, which is a built-in target; use a folder with "
            "another name"
        )
    return TargetSpec(short, kind, place, revision, dtype, channels_last, weights)


def _kind(name: str) -> Literal["built", "folder", "hub"]:
    if name in TARGETS:
        return "built"
    if not name.strip():
        raise HarnessError(f"the target's name is empty; use one of {', '.join(TARGETS)}, a folder or a Hub id")
    try:
        Path(name).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise HarnessError(
            f"the target {name[:80]} cannot be used ({reason(error)[:80]}); give another name"
        ) from error
    if Path(name).is_dir():
        return "folder"
    owner, slash, model = name.partition("/")
    if owner.strip(".~") and slash and model and "/" not in model and not Path(name).exists():
        return "hub"
    if slash or name.startswith(".") or Path(name).exists():
        raise HarnessError(f"the target {name} is not a folder; give a folder that save_pretrained of diffusers wrote")
    raise unknown("target", name, TARGETS)


def short_name(name: str) -> str:
    """Return a name as ids write it.

    All but letters, their marks, digits of any script, "_" and "." becomes "_".
    """
    whole = unicodedata.normalize("NFC", name)
    # Marks are vowels in many scripts.
    kept = "".join(c if c in "_." or unicodedata.category(c)[0] in "LMN" else " " for c in whole)
    return re.sub(" +", "_", kept)


def components(spec: TargetSpec) -> tuple[str, ...]:
    """Return the names of the components that can be pruned, without loading them.

    For a Hub id, one small file is fetched.

    Raises:
        HarnessError: The pipeline's `model_index.json` cannot be fetched or read, or names a class of no known family.
    """
    if spec.kind == "built":
        return BOTH
    if spec.kind == "folder":
        return layout.components_of(Path(spec.place) / layout.INDEX)
    from harness.targets.hub import fetch_index

    return layout.components_of(fetch_index(spec.place, spec.revision))


def load(spec: TargetSpec, device: torch.device) -> Target:
    """Load a target with its dtype and layout. A Hub id is fetched first.

    Raises:
        HarnessError: The pipeline cannot be fetched or loaded, or belongs to no known family.
    """
    import torch

    dtype: torch.dtype | None = getattr(torch, spec.dtype) if spec.dtype else None
    target = _loaded(spec, device, dtype)
    parts = target.pipeline.components.items()
    check_finite(
        {name: part for name, part in parts if isinstance(part, torch.nn.Module)},
        str(spec.weights or spec.place),
        f"leave --dtype {spec.dtype} out, or download it again" if dtype else "save or download it again",
    )
    if spec.channels_last:
        for module in (target.denoiser, getattr(target.pipeline, "vae", None)):
            if module is not None:
                module.to(memory_format=torch.channels_last)
    return target


def _loaded(spec: TargetSpec, device: torch.device, dtype: torch.dtype | None) -> Target:
    """Return a target as it is stored, in a dtype."""
    import torch

    if spec.kind == "built":
        file, function = TARGETS[spec.place].split(":")
        build: Callable[[torch.device, TargetSpec], Target] = getattr(importlib.import_module(file), function)
        target = build(device, spec)
        if spec.place == EMBEDDED and dtype is None:
            return target
        for part in target.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                # The pipeline's own `to` would warn of layers that may have to stay in float32.
                torch.nn.Module.to(part, dtype or target.dtype)
        return target
    from harness.targets import folder, hub

    place = Path(spec.place) if spec.kind == "folder" else hub.fetch(spec.place, spec.revision)
    return folder.load(place, spec.name, device, dtype)
