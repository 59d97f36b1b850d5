"""The two causes of a failing pipeline: too little memory, or parts that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.errors import HarnessError, reason
from harness.targets.target import Target


@contextmanager
def explained(target: Target) -> Iterator[None]:
    """Run a body that calls parts of a pipeline.

    Raises:
        HarnessError: The pipeline failed. An out of memory error stays as it is: see `out_of_memory`.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        raise HarnessError(
            f"{target.name} cannot make pictures ({reason(error)}); check that the parts of the pipeline fit each other"
        ) from error


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device, or the CPU, had no memory left."""
    said = (
        "DefaultCPUAllocator",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        # cuDNN says this where no algorithm's workspace fits.
        "unable to find an engine to execute",
    )
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)
