"""Loads the components of a pipeline one by one, and refuses weights that do not fit them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError, reason
from harness.loaded import Fit
from harness.targets import headers, layout, limits
from harness.targets.families import family_of
from harness.targets.target import quiet

# A network that is built from a configuration may have `ROOM` times as many values as its files, or `SMALL` values.
# Tied tensors are stored once, and messages name missing tensors. A far larger network would fill the memory.
ROOM, SMALL = 4, 2**28
# Values of a configuration that are a number of layers have one of these in their name.
_DEPTHS = ("layers", "blocks", "depth")


def pipeline(folder: Path, dtype: torch.dtype, variant: str | None) -> Any:
    """Load a diffusers pipeline on the CPU, all of its components in one dtype.

    Args:
        folder: A folder that `layout.check` accepts.
        dtype: The dtype of all components.
        variant: See `layout.variant_of`.

    Raises:
        HarnessError: The class belongs to no known family, a tensor of a component is missing, does not belong there or
            has another shape, parts do not fit each other, or a part cannot be loaded.
    """
    quiet()
    # The libraries fail with errors of any kind on the files of strangers.
    try:
        import diffusers

        class_name = str(layout.content_of(folder / layout.INDEX).get("_class_name"))
        family = family_of(class_name)
        limits.check(folder, family)
        taken = inspect.signature(getattr(diffusers, class_name).__init__).parameters
        networks = {
            name: component(network, folder / name, layout.loaded_of(folder / name, variant), dtype, folder / name)
            for name, network in networks_of(folder).items()
            if name in taken
        }
        with silent():
            loaded = diffusers.DiffusionPipeline.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                variant=variant,
                local_files_only=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
                **networks,
            )
        limits.check_texts(folder, family, loaded)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(
            f"{folder} cannot be loaded ({reason(error)}); save the pipeline again, or download it"
        ) from error
    for name, part in loaded.components.items():
        if isinstance(part, torch.nn.Module) and part is not networks.get(name):
            raise HarnessError(
                f"{folder / name} is a {type(part).__name__}, whose weights cannot be checked; save the pipeline with "
                "classes of diffusers and transformers"
            )
    return loaded


def networks_of(folder: Path) -> dict[str, type[torch.nn.Module]]:
    """Return the parts of a pipeline that are networks: name → class."""
    import diffusers
    import transformers

    classes = {}
    for name, (library, class_name) in layout.parts(folder / layout.INDEX).items():
        libraries = {"diffusers": diffusers, "transformers": transformers}
        home = libraries.get(library) or getattr(diffusers.pipelines, library, None)
        kind = getattr(home, class_name, None)
        if inspect.isclass(kind) and issubclass(kind, torch.nn.Module):
            classes[name] = kind
    return classes


def component(kind: Any, place: Path, files: Sequence[Path], dtype: torch.dtype, what: object) -> Any:
    """Load a network of diffusers or transformers on the CPU.

    Args:
        kind: The network's class.
        place: The network's folder.
        files: The safetensors files of the folder that are loaded.
        dtype: The network's dtype.
        what: The network's name in messages.

    Raises:
        HarnessError: A tensor is missing, does not belong there or has another shape; or the configuration describes a
            far larger network than the files hold.
    """
    import diffusers

    ours = issubclass(kind, diffusers.ModelMixin)
    if not (place / "config.json").is_file():
        raise HarnessError(f"{what} has no config.json; save or download the component again")
    _check_size(kind, place, files, what)
    variant = layout.variant_of(list(files))
    options: dict[str, Any] = {"low_cpu_mem_usage": find_spec("accelerate") is not None} if ours else {}
    if variant:
        options["variant"] = variant
    # A tensor that is missing or does not fit must not end the loading, because the message names all such tensors.
    with silent():
        network, info = kind.from_pretrained(
            place,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    Fit.of(info).check(str(what))
    return network


def _check_size(kind: Any, place: Path, files: Sequence[Path], what: object) -> None:
    """Raise HarnessError where a configuration describes a far larger network than the files hold."""
    stored = [tensor for path in files for tensor in headers.read(path).values()]
    config = layout.content_of(place / "config.json")
    depth = max(_depths(config), default=0)
    # A layer has one tensor or more. Even without memory for its tensors, a million layers take hours.
    if depth > len(stored):
        raise HarnessError(
            f"{what} does not fit its configuration: config.json describes {depth} layers, and the files hold "
            f"{len(stored)} tensors; save or download it again"
        )
    size, held = sum(p.numel() for p in described(kind, place).parameters()), sum(tensor.count for tensor in stored)
    if size > max(ROOM * held, SMALL):
        raise HarnessError(
            f"{what} does not fit its configuration: config.json describes {size:,} parameters, and the files "
            f"hold {held:,}; save or download it again"
        )


def described(kind: Any, place: Path) -> Any:
    """Return the network that a configuration describes, on torch's meta device: it has shapes and no values.

    Args:
        kind: The network's class.
        place: The network's folder.
    """
    import diffusers

    with torch.device("meta"), silent():
        if issubclass(kind, diffusers.ModelMixin):
            return kind.from_config(kind.load_config(place, local_files_only=True))
        return kind(kind.config_class.from_pretrained(place, local_files_only=True))


def _depths(config: Mapping[str, Any], inside: bool = False) -> Iterator[int]:
    """Yield the numbers of a configuration that are a number of layers."""
    for name, value in config.items():
        yield from _numbers(value, inside or any(word in name for word in _DEPTHS))


def _numbers(value: Any, counts: bool) -> Iterator[int]:
    if isinstance(value, dict):
        yield from _depths(value, counts)
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(entry, counts)
    elif counts and isinstance(value, int):
        yield value


@contextmanager
def silent() -> Iterator[None]:
    """Keep the libraries from printing about weights. Our own message names everything that is wrong."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
