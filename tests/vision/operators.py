"""Let torchvision be imported beside a CPU build of torch, whose package index has no torchvision of the same kind.

Its Python imports only if two operators are declared, which its compiled part would do; nothing here calls them. Does
nothing where torchvision is not installed or imports as it is.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def declare() -> None:
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


if find_spec("torchvision") is not None:
    declare()
