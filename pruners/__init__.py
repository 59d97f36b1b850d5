"""Pruning methods: tensors in, tensors out. A new method is one file here and one line in `PRUNERS`."""

import importlib
from typing import Any

# name → "module:function"; strings, so that listing the methods does not import torch.
PRUNERS: dict[str, str] = {
    "magnitude": "pruners.magnitude:prune",
    "random": "pruners.random:prune",
    "wanda": "pruners.wanda:prune",
    "sparsegpt": "pruners.sparsegpt:prune",
}

# What a user asks for: name → (how sparsity is spread over layers, see `allocate.py`; how a layer is pruned).
METHODS: dict[str, tuple[str, str]] = {
    **{name: ("uniform", name) for name in PRUNERS},
    **{f"owl_{name}": ("owl", name) for name in PRUNERS if name != "random"},
    "global_magnitude": ("global", "magnitude"),
}


def module_of(method: str) -> Any:
    """Return the module of a method's pruner."""
    return importlib.import_module(PRUNERS[METHODS[method][1]].split(":")[0])


def needs(method: str) -> str | None:
    """Return what of the calibration a method needs: None, "squares", or "gram", whose diagonal the squares are.

    method: of several joined by "+" the most that one needs. Raises KeyError for an unknown one.
    """
    names = method.split("+")
    wanted = {getattr(module_of(name), "NEEDS", None) for name in names}
    wanted |= {"squares" for name in names if METHODS[name][0] == "owl"}
    return next((need for need in ("gram", "squares") if need in wanted), None)
