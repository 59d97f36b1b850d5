"""Files of weights: the download through torch, and a short reason why a file cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError


def downloaded(url: str, failed: Callable[[Exception, Path], str]) -> Path:
    """Return the place where torch keeps the file of a URL. Download the file if it is not there yet.

    Args:
        url: The file's URL. Its last part ends with the first digits of the file's SHA-256, which are compared.
        failed: Takes the error and the place, and returns the message for a download that fails.

    Raises:
        HarnessError: The file is not there and cannot be downloaded.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=False)
        except (OSError, RuntimeError) as error:
            raise HarnessError(failed(error, path)) from error
    return path
