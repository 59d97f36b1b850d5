"""A pipeline on the Hugging Face hub, by its id: fetched once into the hub's cache, then loaded like any folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from harness.errors import HarnessError
from harness.targets import folder
from harness.targets.base import Target, quiet


def fetch(name: str, revision: str | None) -> Path:
    """Fetch what diffusers needs of a pipeline, safetensors only, into the hub's cache; return its folder there.

    revision: a branch, tag or commit; None is the main branch. No code of the repository is run. Raises HarnessError
    where the hub cannot be reached and the cache does not have it, and where there is no such pipeline or revision.
    """
    from huggingface_hub import model_info, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "model_index.json", revision=revision), str):
        # Asked first: without the network, or with a wrong name, nothing heavy is imported to find out.
        try:
            model_info(name, revision=revision, timeout=10)
        except Exception as error:  # of whatever library the hub's client talks through
            raise _unreachable(name, error) from error
    quiet()
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(name, revision=revision, use_safetensors=True, trust_remote_code=False))
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> HarnessError:
    # What follows in brackets is about the library's own options and stack trace.
    reason = next(iter(str(error).splitlines()), type(error).__name__).split(" (")[0]
    return HarnessError(
        f"{name} cannot be fetched from the hub ({reason}); check its name, --revision and the network, or give a "
        "folder that save_pretrained of diffusers wrote"
    )


def load(name: str, revision: str | None, device: torch.device) -> Target:
    """Fetch a pipeline and load it. Raises HarnessError as `fetch` and `folder.load` do."""
    found = folder.load(fetch(name, revision), device)
    return replace(found, name=f"{name}@{revision}" if revision else name)
