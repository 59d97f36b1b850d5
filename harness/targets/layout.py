"""Reads a pipeline's folder without loading the pipeline: components, class, weights and digest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import digests
from harness.components import COMPONENTS
from harness.errors import HarnessError, reason
from harness.targets import headers
from harness.targets.families import TOKENIZERS, family_of

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
# Files that can run code when they are loaded.
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
# The end of the name of a file that `prunegate prune --packed` wrote.
PACKED = ".packed"
# Parts of most pipelines, beside `COMPONENTS`.
_OTHERS = ("vae", "scheduler", *TOKENIZERS.values())
# Keys of a configuration that name its writer. They do not influence what the pipeline computes.
_WRITER = ("_diffusers_version", "_name_or_path", "transformers_version")
_ADVICE = "give a folder that save_pretrained of diffusers wrote"


def components_of(index: Path) -> tuple[str, ...]:
    """Return the prunable components that a pipeline's `model_index.json` lists.

    Raises:
        HarnessError: The file is unreadable, lists no component, or names a class of no known family.
    """
    names = tuple(name for name in COMPONENTS if name in parts(index))
    if not names:
        raise HarnessError(f"{index} lists none of {', '.join(COMPONENTS)}; give a text-to-image pipeline")
    check_class(index)
    return names


def check_class(index: Path) -> None:
    """Raise HarnessError, with the file's name, where a `model_index.json` names a class of no known family."""
    try:
        family_of(content_of(index).get("_class_name"))
    except HarnessError as error:
        raise HarnessError(f"{index}: {error}") from error


def check(folder: Path) -> None:
    """Check that a folder holds a pipeline with complete safetensors files. Reads their headers only.

    Raises:
        HarnessError: There is no `model_index.json`, a component has pickled weights only, a file is cut short, or
            there are no safetensors at all.
    """
    if not (folder / INDEX).is_file():
        raise HarnessError(f"{folder} has no {INDEX}; {_ADVICE}")
    listed = parts(folder / INDEX)
    for part in (folder / name for name in listed):
        if not part.is_dir():
            raise HarnessError(f"{folder / INDEX} lists {part.name}, and {part} is not a folder; {_ADVICE}")
        if any(part.glob(f"*{PACKED}")):
            raise HarnessError(f"{part} holds packed weights; run `prunegate unpack {folder} --out DIR`, and give DIR")
        weights = sorted(part.glob("*.safetensors"))
        pickled = [path.name for path in sorted(part.iterdir()) if path.suffix in PICKLES]
        if pickled and not weights:
            raise HarnessError(
                f"{part} has pickled weights ({pickled[0]}), which can run code and are not loaded; load the pipeline "
                "where you trust it and save it with save_pretrained(…, safe_serialization=True)"
            )
        if (part / "adapter_config.json").exists():
            raise HarnessError(f"{part} holds an adapter; merge the adapter into the weights, and save the pipeline")
        for path in weights:
            headers.read(path)
    weights = weights_of(folder)
    if not weights:
        raise HarnessError(f"{folder} has no safetensors files; save the pipeline with safe_serialization=True")
    for name in listed:
        _check_shards(folder / name, variant_of(weights))


def _check_shards(part: Path, variant: str | None) -> None:
    """Check the lists of shards that are loaded."""
    loaded = {_variant(path) for path in loaded_of(part, variant)}
    for index in sorted(part.glob(f"*{headers.SHARDS}")):
        if _variant(index.with_name(index.name.removesuffix(headers.SHARDS) + ".safetensors")) in loaded:
            # transformers compares its network with the shards themselves, and its lists may name tied tensors.
            headers.check_shards(index, exact=index.name.startswith("diffusion_pytorch_model"))


def weights_of(folder: Path) -> list[Path]:
    """Return the safetensors files of all parts that `model_index.json` lists, sorted."""
    return sorted(path for name in parts(folder / INDEX) for path in (folder / name).glob("*.safetensors"))


def loaded_of(part: Path, variant: str | None) -> list[Path]:
    """Return the safetensors files of one component that are loaded, sorted.

    Args:
        part: The component's folder.
        variant: See `variant_of`.
    """
    return _loaded(sorted(part.glob("*.safetensors")), variant)


def digest(folder: Path) -> str:
    """Return a SHA-256 of all files that influence what a pipeline computes: weights, configurations and tokenizers.

    Components that `model_index.json` does not list, variants that are not loaded, and the writer of a configuration
    are not included.
    """
    variant = variant_of(weights_of(folder))
    paths = [folder / INDEX]
    for name in sorted(parts(folder / INDEX)):
        part = folder / name
        paths += loaded_of(part, variant)
        paths += sorted(path for path in part.glob("*") if path.suffix in (".json", ".txt", ".model"))
    return digests.of_value({path.relative_to(folder).as_posix(): _digest(path) for path in paths})


def _digest(path: Path) -> str:
    if path.name not in ("config.json", INDEX):
        return digests.of_file(path)
    return digests.of_value({k: v for k, v in content_of(path).items() if k not in _WRITER})


def variant_of(weights: list[Path]) -> str | None:
    """Return the variant of a component that has no plain weights: diffusers must load it. None if all have them."""
    variants: dict[Path, set[str]] = {}
    for path in weights:
        variants.setdefault(path.parent, set()).add(_variant(path))
    needed = [min(names) for names in variants.values() if "" not in names]
    return needed[0] if needed else None


def _variant(path: Path) -> str:
    """Return "fp16" for `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`, "" without a variant."""
    # A checkpoint in one file beside the components may have dots in its name: `sd_xl_base_1.0.safetensors`.
    match = re.fullmatch(r"(?:diffusion_pytorch_)?model\.([^.-]+)(?:-\d+-of-\d+)?", path.stem)
    return match[1] if match else ""


def _loaded(weights: list[Path], variant: str | None) -> list[Path]:
    """Return the files of one component that are loaded: files of the variant, else files without a variant."""
    ours = [path for path in weights if variant and _variant(path) == variant]
    return ours or [path for path in weights if not _variant(path)] or weights


def stored_dtype(weights: list[Path], variant: str | None) -> torch.dtype:
    """Return the dtype of the first stored numbers of the U-Net or transformer; without either, of the first file.

    Raises:
        HarnessError: The numbers are in another dtype than float32, float16 or bfloat16.
    """
    import torch

    denoiser = [path for path in weights if path.parent.name in ("unet", "transformer")]
    path = _loaded(denoiser or weights, variant)[0]
    kinds = [stored.dtype for stored in headers.read(path).values() if "F" in stored.dtype]
    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    # Without any number every tensor is missing, and loading says so.
    kind = kinds[0] if kinds else "F32"
    if kind not in dtypes:
        raise HarnessError(f"{path} is stored as {kind}; save the pipeline as float32, float16 or bfloat16")
    return dtypes[kind]


def content_of(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a pipeline, such as a configuration.

    Raises:
        HarnessError: The file cannot be read, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HarnessError(f"{path} cannot be read ({reason(error)}); {_ADVICE}") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{path} cannot be read (it holds no names with values); {_ADVICE}")
    return content


def parts(index: Path) -> dict[str, tuple[str, str]]:
    """Return the parts that a pipeline has: name → library and class.

    `model_index.json` gives a part that is left out two nulls.

    Raises:
        HarnessError: The file is unreadable, or gives a part something else.
    """
    listed = {}
    for name, kind in content_of(index).items():
        match kind:
            case _ if name.startswith("_"):
                pass
            case [str(library), str(class_name)]:
                listed[name] = (library, class_name)
            case [None, None]:
                pass
            case _ if name in (*COMPONENTS, *_OTHERS):
                raise HarnessError(f"{index} gives {name} {kind!r} in place of a library and a class; {_ADVICE}")
    return listed
