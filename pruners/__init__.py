"""Pruning methods: tensors in, tensors out. To add a method, write one file and one entry of `METHODS`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pruners.obsdiff import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pruners.levels import Level
    from pruners.types import LayerStats, Pruned, Pruner, Refiner

# The statistics that calibration can take: float64 sums of squares and sums per input, and the Gram matrix XᵀX. With
# "steps", all of them are weighted by denoising step (`pruners.obsdiff.step_weights`).
STATISTICS = ("squares", "sums", "gram", "steps")


@dataclass(frozen=True)
class Method:
    """One way to prune: how the sparsity is divided among the layers, and how one layer is pruned and refined.

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
    """The calibration statistics that pruner, allocation and refiner read: names of `STATISTICS`; each of the others
    brings "squares"."""
    moves_weights: bool = False
    """Whether surviving weights get new values. Figures then move with the rounding of sums."""
    batches_levels: bool = False
    """Whether one call for all levels of a layer takes about as long as one level."""
    refine: str | Refiner = ""
    """What improves the masks or the weights of the pruner, see `pruners.types.Refiner`, or "module:function"; "" for
    nothing."""
    packages: int = 1
    """Number of packages of layers. Before each package but the first, the partly pruned model is calibrated again."""

    def __post_init__(self) -> None:
        if not self.name.replace("_", "a").isalnum():
            raise ValueError(f"method name {self.name!r} has other characters than letters, digits and _")
        if not self.needs <= set(STATISTICS):
            raise ValueError(
                f"method {self.name} needs {sorted(self.needs)}; known statistics: {', '.join(STATISTICS)}"
            )
        if self.group not in ("layer", "row", "block"):
            raise ValueError(f"method {self.name} has group {self.group!r}; use layer, row or block")
        if self.packages < 1 or (self.packages > 1 and not self.needs):
            raise ValueError(
                f"method {self.name} has {self.packages} packages; use 1 for a method that reads no statistics, and 1 "
                "or more for others"
            )

    def pruner(self) -> Pruner:
        """Return the function that prunes one layer and refines the result. Imports its modules at the first call."""
        prune: Pruner = _function(self.prune)
        if not self.refine:
            return prune
        refine: Refiner = _function(self.refine)

        def refined(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
            return refine(weight, stats, levels, prune(weight, stats, levels, seed))

        return refined


def _function(place: str | Callable[..., list[Pruned]]) -> Callable[..., list[Pruned]]:
    """Return a function, which may be named as "module:function"."""
    if not isinstance(place, str):
        return place
    module, name = place.split(":")
    function: Callable[..., list[Pruned]] = getattr(importlib.import_module(module), name)
    return function


METHODS: dict[str, Method] = {}


def register(method: Method) -> None:
    """Add a method to `METHODS`. Call it from your conftest.py or your own module.

    Raises:
        ValueError: Another method has the name.
    """
    if METHODS.get(method.name, method) != method:
        raise ValueError(f"method {method.name} exists already; choose another name")
    METHODS[method.name] = method


_SQUARES, _GRAM, _STEPS = frozenset({"squares"}), frozenset({"gram"}), frozenset({"gram", "steps"})
_OWL = "{}, with a lower sparsity in blocks that have more outliers (OWL)"
_ALPHA = "{}, with a lower sparsity in blocks whose spectra have heavier tails (AlphaPruning)"
_SWAPS = "{}, then swaps pruned and kept weights of an output while the layer's error falls"
_BEST = "{}, then gives the surviving weights the values with the smallest error of the layer"
_AGAIN = "{}, calibrated again on the partly pruned model before each of four packages of layers"
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
    Method(
        "magnitude_row", "pruners.magnitude:prune_rows", "row", "prunes the smallest absolute weights of each output",
    ),
    Method(
        "wanda_layer", "pruners.wanda:prune_layer", "layer", "prunes the smallest |weight| · ‖input‖ of each layer",
        needs=_SQUARES,
    ),
    Method(
        "global_wanda", "pruners.wanda:prune_layer", "layer",
        "prunes the smallest |weight| · ‖input‖ of a whole component", "global_wanda", _SQUARES,
    ),
    Method(
        "ria", "pruners.ria:prune", "layer",
        "prunes the weights that are smallest beside their row and column, times √‖input‖, of each layer",
        needs=_SQUARES,
    ),
    Method(
        "ria_row", "pruners.ria:prune_rows", "row", "prunes by the score of ria within each output", needs=_SQUARES,
    ),
    Method(
        "global_ria", "pruners.ria:prune", "layer", "prunes by the score of ria within a whole component",
        "global_ria", _SQUARES,
    ),
    Method(
        "dsnot", "pruners.wanda:prune", "row",
        "wanda, then exchanges weights so that the mean output of each row returns",
        needs=frozenset({"squares", "sums"}), refine="pruners.dsnot:refine",
    ),
    Method(
        "obsdiff", "pruners.sparsegpt:prune", "block",
        "sparsegpt with both switches of OBS-Diff: early denoising steps weigh more, and layers go in four packages",
        needs=_STEPS, moves_weights=True, packages=PACKAGES,
    ),
    Method(
        "sparsegpt_steps", "pruners.sparsegpt:prune", "block", "sparsegpt, with early denoising steps weighing more",
        needs=_STEPS, moves_weights=True, batches_levels=True,
    ),
    Method(
        "sparsegpt_packages", "pruners.sparsegpt:prune", "block", _AGAIN.format("sparsegpt"), needs=_GRAM,
        moves_weights=True, packages=PACKAGES,
    ),
    Method("wanda_packages", "pruners.wanda:prune", "row", _AGAIN.format("wanda"), needs=_SQUARES, packages=PACKAGES),
    Method("alpha_magnitude", "pruners.magnitude:prune", "layer", _ALPHA.format("magnitude"), "alpha"),
    Method("alpha_wanda", "pruners.wanda:prune", "row", _ALPHA.format("wanda"), "alpha", _SQUARES),
    Method(
        "magnitude_swaps", "pruners.magnitude:prune", "layer", _SWAPS.format("magnitude"), needs=_GRAM,
        refine="pruners.swaps:refine",
    ),
    Method(
        "wanda_swaps", "pruners.wanda:prune", "row", _SWAPS.format("wanda"), needs=_GRAM, refine="pruners.swaps:refine",
    ),
    Method(
        "magnitude_reconstruct", "pruners.magnitude:prune", "layer", _BEST.format("magnitude"), needs=_GRAM,
        moves_weights=True, refine="pruners.reconstruct:refine",
    ),
    Method(
        "wanda_reconstruct", "pruners.wanda:prune", "row", _BEST.format("wanda"), needs=_GRAM, moves_weights=True,
        refine="pruners.reconstruct:refine",
    ),
):  # fmt: skip
    register(_method)
