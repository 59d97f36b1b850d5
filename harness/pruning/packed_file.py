"""One packed file: a pruned tensor is a bit per value, set where the value is not zero, and the values that are set.

The file is safetensors. A packed tensor keeps its name and is uint8: first the bits, eight values to a byte, the first
value in the highest bit; then the bytes of the surviving values in order. The metadata has one more text, `prunegate`:
JSON that gives every packed tensor its dtype and shape. All other tensors, and the rest of the metadata, are those of
the dense file. The layout is that of the column `stored`, so the sizes agree; only the file's header is added.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness import digests
from harness.errors import HarnessError

KEY = "prunegate"
# Values are moved as whole numbers: bits decide, so that -0.0 and NaN come back as they were.
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class _Kind(msgspec.Struct, frozen=True, array_like=True):
    """The dtype and the shape of a tensor before it was packed."""

    dtype: str
    shape: tuple[int, ...]


def pack(source: Path, place: Path) -> str | None:
    """Write a safetensors file again, with every tensor packed that gets smaller.

    Tensors of one dimension, such as biases, and whole numbers stay as they are.

    Args:
        source: The dense file.
        place: The packed file to write.

    Returns:
        The digest of the dense tensors, see `digest`; None where no tensor gets smaller, and nothing is written.

    Raises:
        OSError, SafetensorError: A file cannot be read or written.
    """
    tensors, kinds, seen = {}, {}, []
    with safe_open(source, "pt") as stream:
        about = stream.metadata() or {}
        for name in sorted(stream.keys()):
            tensor = stream.get_tensor(name)
            seen.append((name, digests.of_tensors([(name, tensor)])))
            smaller = _packed(tensor) if tensor.dim() > 1 and tensor.is_floating_point() else None
            tensors[name] = tensor if smaller is None else smaller
            if smaller is not None:
                kinds[name] = _Kind(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
    if not kinds:
        return None
    save_file(tensors, place, about | {KEY: msgspec.json.encode(kinds).decode()})
    return digests.of_value(seen)


def unpack(source: Path, place: Path) -> str:
    """Write the dense file of a packed one.

    Args:
        source: A file that `pack` wrote.
        place: The dense file to write.

    Returns:
        The digest of the dense tensors, as `pack` returned it.

    Raises:
        HarnessError: The file is cut short, is no packed file, or contradicts itself. The message names the file.
        OSError: The dense file cannot be written.
    """
    tensors, seen = {}, []
    try:
        with safe_open(source, "pt") as stream:
            about = dict(stream.metadata() or {})
            kinds = msgspec.json.decode(about.pop(KEY), type=dict[str, _Kind])
            for name in sorted({*stream.keys(), *kinds}):
                tensor = stream.get_tensor(name)
                tensors[name] = _dense(tensor, kinds[name]) if name in kinds else tensor
                seen.append((name, digests.of_tensors([(name, tensors[name])])))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        said = f"it has no text {error}" if isinstance(error, KeyError) else error
        raise HarnessError(f"{source} is cut short or no packed file ({said}); copy or prune again") from error
    try:
        save_file(tensors, place, about)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    return digests.of_value(seen)


def _packed(tensor: Tensor) -> Tensor | None:
    """Return a tensor as uint8 `[bytes]`: the bits, then the surviving values. None where dense is not larger."""
    words = tensor.contiguous().flatten().view(_WORDS[tensor.element_size()])
    keep = words != 0
    bits = torch.from_numpy(numpy.packbits(keep.numpy()))
    if len(bits) + int(keep.sum()) * tensor.element_size() >= tensor.nbytes:
        return None
    return torch.cat([bits, words[keep].view(torch.uint8)])


def _dense(content: Tensor, kind: _Kind) -> Tensor:
    """Return the tensor that `_packed` made `content` of.

    Raises:
        ValueError, RuntimeError, AttributeError: The content is not that of such a tensor.
    """
    dtype: torch.dtype = getattr(torch, kind.dtype)
    size = math.prod(kind.shape)
    edge = -(-size // 8)
    if content.dtype != torch.uint8 or content.dim() != 1 or min(kind.shape, default=1) < 0 or edge > len(content):
        raise ValueError(f"{len(content)} bytes cannot hold the bits of a tensor of shape {kind.shape}")
    keep = torch.from_numpy(numpy.unpackbits(content[:edge].numpy(), count=size)).bool()
    values = content[edge:].clone().view(_WORDS[dtype.itemsize])
    if len(values) != int(keep.sum()):
        raise ValueError(f"{int(keep.sum())} values survive, and {len(values)} are stored")
    words = torch.zeros(size, dtype=values.dtype)
    words[keep] = values
    return words.view(dtype).view(kind.shape)
