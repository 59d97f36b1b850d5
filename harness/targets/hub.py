"""Fetch a pipeline from the Hugging Face Hub into the Hub's own cache, once."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.targets.layout import INDEX, check_class

# Seconds that the Hub has to answer.
PATIENCE = 10


def fetch_index(name: str, revision: str | None) -> Path:
    """Fetch the `model_index.json` of a pipeline and nothing else.

    Args:
        name: "owner/model".
        revision: A branch, tag or commit; None is the main branch.

    Returns:
        The file in the cache.

    Raises:
        HarnessError: Neither the Hub nor the cache has the file. If the Hub cannot be reached, this takes seconds.
    """
    from huggingface_hub import hf_hub_download, model_info, try_to_load_from_cache

    # Catch everything: the client raises errors of the HTTP library beneath it.
    try:
        known = try_to_load_from_cache(name, INDEX, revision=revision)
        if isinstance(known, str):
            return Path(known)
        # Ask first: a download tries several times before it gives up.
        model_info(name, revision=revision, timeout=PATIENCE)
        return Path(hf_hub_download(name, INDEX, revision=revision, etag_timeout=PATIENCE))
    except Exception as error:
        raise _unreachable(name, error) from error


def fetch(name: str, revision: str | None) -> Path:
    """Fetch the files of a pipeline that diffusers needs. Weights are safetensors; no code of the repository runs.

    Args:
        name: "owner/model".
        revision: A branch, tag or commit; None is the main branch.

    Returns:
        The pipeline's folder in the cache.

    Raises:
        HarnessError: The Hub cannot be reached and the cache lacks the pipeline, there is no such pipeline or revision,
            or its class belongs to no known family.
    """
    # Check before the slow import of diffusers: a wrong name or a missing network then shows at once.
    check_class(fetch_index(name, revision))
    from harness.targets.target import quiet

    quiet()
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(name, revision=revision, use_safetensors=True, trust_remote_code=False))
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> HarnessError:
    # Cut the hints in brackets, which are about the library's own options.
    reason = next(iter(str(error).splitlines()), type(error).__name__).split(" (")[0]
    return HarnessError(
        f"{name} cannot be fetched from the Hub ({reason}); check the name, --revision and the network, or give a "
        "folder that save_pretrained of diffusers wrote"
    )
