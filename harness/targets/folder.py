"""A pipeline in a local folder, as diffusers saves it: `model_index.json`, and safetensors per component."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from harness import digests
from harness.case import COMPONENTS
from harness.errors import HarnessError
from harness.targets.base import Protocol, Target, quiet
from harness.targets.index import check_weights

# What diffusers itself does by default.
PROTOCOL = Protocol(num_inference_steps=50, guidance_scale=7.5, latent_seed=20241117)


def load(folder: Path, device: torch.device, dtype: torch.dtype | None = None) -> Target:
    """Load a text-to-image pipeline, all in one dtype; None: that which its U-Net or transformer is stored in.

    Raises HarnessError where the folder holds no such pipeline, or weights that are no whole safetensors.
    """
    quiet()
    from diffusers import DiffusionPipeline

    if not (folder / "model_index.json").is_file():
        raise HarnessError(f"{folder} has no model_index.json; give a folder that save_pretrained of diffusers wrote")
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise HarnessError(f"{folder} has no safetensors files; save the pipeline with safe_serialization=True")
    check_weights(folder)
    variant = _variant(weights)
    dtype = dtype or _stored_dtype(weights, variant)
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            variant=variant,
            local_files_only=True,
            low_cpu_mem_usage=find_spec("accelerate") is not None,
        ).to(device)
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        AttributeError,
        TypeError,
        ImportError,
        SafetensorError,
    ) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise HarnessError(f"{folder} cannot be loaded ({reason})") from error
    found = wrap(str(folder), pipeline, digests.of_value(_contents(folder)), device)
    if found.dtype != dtype:
        # diffusers leaves the transformer of Stable Diffusion 3 in the dtype it was stored in.
        found.denoiser.to(dtype)
    return found


# What of a config says who wrote it, and not what is computed.
_WRITER = ("_diffusers_version", "_name_or_path", "transformers_version")


def _contents(folder: Path) -> dict[str, str]:
    """Return path → digest of what decides what a pipeline makes: the weights that are loaded, configs, tokenizers.

    The files of other components, variants that lie beside the weights, and who saved a config make no difference.
    """
    listed = json.loads((folder / "model_index.json").read_text())
    variant = _variant(sorted(folder.rglob("*.safetensors")))
    parts = sorted(folder / name for name, kind in listed.items() if isinstance(kind, list) and kind[0])
    paths = [folder / "model_index.json"]
    for part in parts:
        paths += _loaded(sorted(part.glob("*.safetensors")), variant)
        paths += sorted(path for path in part.glob("*") if path.suffix in (".json", ".txt", ".model"))
    return {path.relative_to(folder).as_posix(): _digest(path) for path in paths}


def _digest(path: Path) -> str:
    if path.name not in ("config.json", "model_index.json"):
        return digests.of_file(path)
    return digests.of_value({k: v for k, v in json.loads(path.read_text()).items() if k not in _WRITER})


def _loaded(weights: list[Path], variant: str | None) -> list[Path]:
    """Return which of one component's files are loaded: those of the variant, else those without one."""
    ours = [path for path in weights if variant and _variant_of(path) == variant]
    return ours or [path for path in weights if not _variant_of(path)] or weights


def _variant_of(path: Path) -> str:
    """Return "fp16" for `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`, "" without a variant."""
    # A checkpoint in one file beside the components may have dots of its own: `sd_xl_base_1.0.safetensors`.
    found = re.fullmatch(r"(?:diffusion_pytorch_)?model\.([^.-]+)(?:-\d+-of-\d+)?", path.stem)
    return found[1] if found else ""


def _variant(weights: list[Path]) -> str | None:
    """Return the variant that diffusers is to load: that of a component without plain weights; None: no such one."""
    variants: dict[Path, set[str]] = {}
    for path in weights:
        variants.setdefault(path.parent, set()).add(_variant_of(path))
    wanted = [min(found) for found in variants.values() if "" not in found]
    return wanted[0] if wanted else None


def _stored_dtype(weights: list[Path], variant: str | None) -> torch.dtype:
    """Return the dtype of the first tensor of the U-Net's or transformer's file, or without either of the first's."""
    denoiser = [path for path in weights if path.parent.name in ("unet", "transformer")]
    path = _loaded(denoiser or weights, variant)[0]
    with safe_open(path, "pt") as stream:
        name = next(iter(stream.keys()))
        dtype: torch.dtype = stream.get_tensor(name).dtype
        return dtype


def wrap(name: str, pipeline: Any, digest: str, device: torch.device) -> Target:
    """Return the target of a loaded pipeline, whatever of `COMPONENTS` it has.

    Raises HarnessError where it has nothing that denoises latents (`unet` or `transformer`), or no text encoder.
    """
    parts = {part: getattr(pipeline, part, None) for part in COMPONENTS}
    components = {part: module.eval() for part, module in parts.items() if isinstance(module, torch.nn.Module)}
    if not {"unet", "transformer"} & components.keys() or not any(part.startswith("text") for part in components):
        raise HarnessError(
            f"{name} is a {type(pipeline).__name__} with {', '.join(components) or 'nothing'} to prune, wanted a text "
            "encoder, and a unet or a transformer: it is no text-to-image pipeline"
        )
    found = Target(name, pipeline, components, PROTOCOL, digest, device)
    lacking = [key for key in ("in_channels", "sample_size") if not isinstance(found.denoiser.config.get(key), int)]
    if lacking:
        raise HarnessError(
            f"{name} is a {type(pipeline).__name__}, whose {type(found.denoiser).__name__} has no {lacking[0]}: its "
            "latents are laid out in a way that is not known here; Stable Diffusion 1.x, 2.x, XL and 3 are"
        )
    pipeline.set_progress_bar_config(disable=True)
    return found
