"""SHA-256 digests of files, tensors and plain values. Results carry them to say what they were measured with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def of_bytes(data: bytes) -> str:
    """Return the SHA-256 of some bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_value(value: Any) -> str:
    """Return the SHA-256 of a JSON value. The order of keys does not matter."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def of_tensors(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return one SHA-256 of several tensors: their names, shapes, dtypes and contents, in the given order."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        # numpy has no bfloat16, so hash the bytes. Flatten first: a scalar has no dimension to view as bytes.
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
