"""A pretended GPU: tensors that say they are on `cuda` and refuse to meet tensors of the CPU. The CPU computes them.

A test on the pretended GPU proves that every tensor is made on, or moved to, the device it is used on. The test proves
nothing about kernels, their rounding, speed and memory: those need a graphics card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten
# Operations that move tensors between devices.
MOVES = (aten._to_copy, aten.to, aten.copy_, aten.copy)
# Methods that look for a real GPU before they dispatch → the operation they stand for.
DIRECT = {Tensor.contiguous: aten.contiguous, Tensor.__invert__: aten.bitwise_not, Tensor.nonzero: aten.nonzero}
# Methods that return a value to Python.
READ = (Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__)
# Functions that consist of other operations on a GPU, or that look for a GPU.
WHOLE = ("gru", "multi_head_attention_forward")
# Operations that take indices and masks from the CPU, on a real GPU too.
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index)


class OnGpu(Tensor):
    """A tensor that says it is on the GPU."""

    host: Tensor
    """The values, on the CPU."""

    @staticmethod
    def __new__(cls: type[OnGpu], real: Tensor) -> OnGpu:
        """Wrap a tensor of the CPU; it is not copied."""
        wrapped: OnGpu = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            layout=real.layout,
            device=CUDA,
            requires_grad=False,
        )
        wrapped.host = real
        return wrapped

    def __repr__(self, **_: Any) -> str:
        """Show the values."""
        return f"OnGpu({self.host!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Handle functions that look for a real GPU before they dispatch."""
        if func in DIRECT:
            return DIRECT[func](*args, **(kwargs or {}))
        if func is Tensor.copy_:
            host(args[0]).copy_(host(args[1]))
            return args[0]
        if func.__name__ in WHOLE:
            same_device(func, (args, kwargs))
            return placed(func(*host(args), **host(kwargs or {})), on_gpu=True)
        if func is Tensor.__getitem__:
            on_gpu = isinstance(args[0], OnGpu)
            if not on_gpu and any(isinstance(index, OnGpu) and index.dim() for index in tree_leaves(args[1])):
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
            return placed(host(args[0])[host(args[1])], on_gpu)
        if func is Tensor.__setitem__:
            same_device(func, [args[0], args[2]])
            host(args[0])[host(args[1])] = host(args[2])
            return None
        if func in READ:
            return func(host(args[0]))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation where no mode is active, such as inside another mode's handler."""
        return run(func, args, kwargs or {})


def host(arguments: Any) -> Any:
    """Return arguments with the CPU's tensors in place of the GPU's."""
    return tree_map(lambda leaf: leaf.host if isinstance(leaf, OnGpu) else leaf, arguments)


def placed(results: Any, on_gpu: bool, known: Sequence[OnGpu] = ()) -> Any:
    """Say that results are on the GPU. known: arguments; an operation in place returns one of them."""
    if not on_gpu:
        return results
    by_host = {id(tensor.host): tensor for tensor in known}

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return by_host[id(leaf)] if id(leaf) in by_host else OnGpu(leaf)

    return tree_map(place, results)


def same_device(func: Any, arguments: Any) -> None:
    """Raise RuntimeError as torch does where tensors of two devices meet; single numbers may."""
    tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
    if any(isinstance(t, OnGpu) for t in tensors) and any(not isinstance(t, OnGpu) and t.dim() for t in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, {func} was given some of cuda:0 and cpu")


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation: check that its tensors are on one device, compute on the CPU, say where the result is."""
    # Without autograd, as in inference mode, `to` arrives whole, with the device among the positional arguments.
    names = [argument.name for argument in func._schema.arguments]
    kwargs = dict(zip(names, args, strict=False)) | kwargs
    leading = names[: min(len(args), names.index("device") if "device" in names else len(names))]
    args = tuple(kwargs.pop(name) for name in leading)
    operation = func.overloadpacket
    if operation is aten._fused_sdp_choice:
        return 0  # attention that consists of other operations
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, OnGpu)]
    if operation in INDEXING:
        same_device(func, [args[0], args[2:]])
        on_gpu = isinstance(args[0], OnGpu)
    elif operation in MOVES:
        on_gpu = isinstance(args[0], OnGpu)
    else:
        same_device(func, (args, kwargs))
        on_gpu = bool(given) and operation is not aten._local_scalar_dense
    if kwargs.get("device") is not None:
        on_gpu = torch.device(kwargs["device"]).type == "cuda"
        kwargs["device"] = torch.device("cpu") if on_gpu else kwargs["device"]
    if on_gpu and kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    results = func(*host(args), **host(kwargs))
    for tensor in given:
        if tensor.size() != tensor.host.size() or tensor.stride() != tensor.host.stride():
            raise NotImplementedError(f"{func} gives a tensor another shape")
    return placed(results, on_gpu, given)


class PretendGpu(TorchDispatchMode):
    """While active, `device="cuda"` is known."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `run`."""
        return run(func, args, kwargs or {})


@contextmanager
def pretend_gpu() -> Iterator[None]:
    """Pretend a GPU while the body runs, as torch.cuda describes one. Gradients are off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
        # A module that is moved gets new parameters; the old ones are not overwritten.
        patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_name", lambda device=None: "a pretended GPU")
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (10**10, 10**10))
        for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
            patch.setattr(torch.cuda, name, lambda device=None: None)
        patch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: 10**6)
        patch.setattr(torch.cuda, "memory_allocated", lambda device=None: 10**5)
        # Inference mode refuses views of wrapped tensors that were made outside of inference mode.
        patch.setattr(torch.inference_mode, "__enter__", lambda self: None)
        patch.setattr(torch.inference_mode, "__exit__", lambda self, *raised: None)
        # `with torch.device(...)` looks up once which functions make tensors: look them up before they are replaced.
        _device_constructors()
        for name in ("tensor", "as_tensor"):
            patch.setattr(torch, name, _made_on_the_cpu_first(getattr(torch, name)))
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), PretendGpu():
            yield


def _made_on_the_cpu_first(function: Any) -> Any:
    """Wrap a function that makes a tensor of numbers: no dispatch mode sees such a function."""

    def made(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        tensor: Tensor = function(data, **more)
        return tensor if device is None else tensor.to(device)

    return made
