"""Pruning methods: tensors in, tensors out. To add a method, write one file and one entry of `METHODS`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pruners.types import Pruner

# The statistics that calibration can take: float64 sums of squares per input, and the Gram matrix XᵀX.
STATISTICS = ("squares", "gram")


@dataclass(frozen=True)
class Method:
    """One way to prune: how the sparsity is divided among the layers, and how one layer is pruned.

    Raises:
        ValueError: A field has a value that does not exist.
    """

    name: str
    """The name in ids and options: letters, digits and "_"."""
    prune: str | Pruner
    """The pruner, see `pruners.types.Pruner`, or "module:function", which is imported at the first use."""
    group: Literal["layer", "row", "block"]
    """The group in which weights compete: the whole matrix (layer), one output (row), or 128 columns of all outputs
    (block)."""
    summary: str
    """One sentence for the tables in the documentation."""
    allocation: str = "uniform"
    """How the sparsity is divided among the layers of a component: a name of `pruners.allocate.ALLOCATIONS`."""
    needs: frozenset[str] = frozenset()
    """The calibration statistics that pruner and allocation read: names of `STATISTICS`; "gram" brings "squares"."""
    moves_weights: bool = False
    """Whether surviving weights get new values. Figures then move with the rounding of sums."""
    batches_levels: bool = False
    """Whether one call for all levels of a layer takes about as long as one level."""

    def __post_init__(self) -> None:
        if not self.name.replace("_", "a").isalnum():
            raise ValueError(f"method name {self.name!r} has other characters than letters, digits and _")
        if not self.needs <= set(STATISTICS):
            raise ValueError(
                f"method {self.name} needs {sorted(self.needs)}; known statistics: {', '.join(STATISTICS)}"
            )
        if self.group not in ("layer", "row", "block"):
            raise ValueError(f"method {self.name} has group {self.group!r}; use layer, row or block")

    def pruner(self) -> Pruner:
        """Return the function that prunes one layer. Imports its module at the first call."""
        if not isinstance(self.prune, str):
            return self.prune
        module, function = self.prune.split(":")
        pruner: Pruner = getattr(importlib.import_module(module), function)
        return pruner


METHODS: dict[str, Method] = {}


def register(method: Method) -> None:
    """Add a method to `METHODS`. Call it from your conftest.py or your own module.

    Raises:
        ValueError: Another method has the name.
    """
    if METHODS.get(method.name, method) != method:
        raise ValueError(f"method {method.name} exists already; choose another name")
    METHODS[method.name] = method


_SQUARES, _GRAM = frozenset({"squares"}), frozenset({"gram"})
_OWL = "{}, with a lower sparsity in blocks that have more outliers (OWL)"
for _method in (
    Method("magnitude", "pruners.magnitude:prune", "layer", "prunes the smallest absolute weights of each layer"),
    Method("random", "pruners.random:prune", "layer", "prunes weights at random: the control"),
    Method(
        "wanda", "pruners.wanda:prune", "row", "prunes the smallest |weight| · ‖input‖ of each output", needs=_SQUARES,
    ),
    Method(
        "sparsegpt", "pruners.sparsegpt:prune", "block",
        "prunes the weights whose loss the other weights can best compensate, and adjusts those",
        needs=_GRAM, moves_weights=True, batches_levels=True,
    ),
    Method(
        "global_magnitude", "pruners.magnitude:prune", "layer",
        "prunes the smallest absolute weights of a whole component", allocation="global",
    ),
    Method("owl_magnitude", "pruners.magnitude:prune", "layer", _OWL.format("magnitude"), "owl", _SQUARES),
    Method("owl_wanda", "pruners.wanda:prune", "row", _OWL.format("wanda"), "owl", _SQUARES),
    Method(
        "owl_sparsegpt", "pruners.sparsegpt:prune", "block", _OWL.format("sparsegpt"), "owl", _GRAM,
        moves_weights=True, batches_levels=True,
    ),
):  # fmt: skip
    register(_method)
