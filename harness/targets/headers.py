"""Headers of safetensors files: the names and shapes of tensors, read without loading anything."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.loaded import named

# The end of the name of a list of shards: it says which of several safetensors files holds which tensor.
SHARDS = ".safetensors.index.json"


@dataclass(frozen=True)
class Stored:
    """One tensor of a file."""

    dtype: str
    """The dtype in safetensors' spelling, such as "F32" or "BF16"."""
    shape: tuple[int, ...]
    """The shape of the tensor."""

    @property
    def count(self) -> int:
        """Return the tensor's number of values."""
        return math.prod(self.shape)


def read(path: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file: name → dtype and shape.

    Raises:
        HarnessError: The file is cut short, or is no safetensors file.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            # Check before reading: in a file of another kind, the size is any number.
            header: Any = json.loads(stream.read(size) if size <= length else b"")
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = [entry["data_offsets"][1] for entry in entries.values()]
        if length == 8 + size + max(ends, default=0):
            return {name: Stored(str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        pass
    raise HarnessError(f"{path} is cut short or no safetensors file; copy or download it again")


def check_shards(index: Path, exact: bool) -> None:
    """Compare the list of a component's shards with the shards.

    diffusers trusts the list: a tensor that the list names and no shard holds would get random values.

    Args:
        index: A file whose name ends with `SHARDS`.
        exact: Whether the list must name the tensors that the files hold, and no others.

    Raises:
        HarnessError: The list cannot be read, names a file that is not beside it, or differs from what the files hold.
    """
    places = _places(index)
    held: dict[str, set[str]] = {}
    for name in sorted(set(places.values())):
        path = index.parent / name
        if path.name != name or not path.is_file():
            raise HarnessError(f"{index} names the file {name}, which is not beside it; copy or download it again")
        held[name] = set(read(path))
    if not exact:
        return
    missing = sorted(tensor for tensor, name in places.items() if tensor not in held[name])
    if missing:
        name = places[missing[0]]
        raise HarnessError(
            f"{index.parent / name} lacks {len(missing)} tensors that {index.name} names ({named(missing)}); copy or "
            "download it again"
        )
    for name, tensors in held.items():
        more = sorted(tensors - places.keys())
        if more:
            raise HarnessError(
                f"{index.parent / name} holds {len(more)} tensors that {index.name} does not name ({named(more)}); "
                "save or download the component again"
            )


def _places(index: Path) -> dict[str, str]:
    """Return tensor → file."""
    try:
        content: Any = json.loads(index.read_text(encoding="utf-8"))
        places = {str(tensor): str(name) for tensor, name in content["weight_map"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HarnessError(
            f"{index} cannot be read ({error!r}); save the component again, or download it again"
        ) from error
    return places
