"""A `Case` is everything that defines one run, and its id is what a person types behind `-k`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import HarnessError, unknown
from pruners import PRUNERS

COMPONENTS = ("text_encoder", "unet")
SELECTIONS = (*COMPONENTS, "both")
LAYERS = ("all", "linear")
DENSE = "dense"


@dataclass(frozen=True)
class Case:
    """One target, pruned in one way.

    component: "text_encoder", "unet", "both" or, for the dense case, "none". layers: "all" (Linear and Conv2d),
    "linear", or "none". sparsities: one in [0, 1] per pruned component, text encoder first.
    Raises HarnessError for a method, component or layer choice that does not exist and for a wrong sparsity.
    """

    target: str
    component: str = "none"
    method: str = DENSE
    layers: str = "none"
    sparsities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.method == DENSE:
            if (self.component, self.layers, self.sparsities) != ("none", "none", ()):
                raise HarnessError("a dense case prunes nothing: leave component, layers and sparsities out")
            return
        for kind, name, known in (
            ("method", self.method, PRUNERS),
            ("component", self.component, SELECTIONS),
            ("layers", self.layers, LAYERS),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        wanted = 2 if self.component == "both" else 1
        if len(self.sparsities) != wanted:
            raise HarnessError(f"{self.component} wants {wanted} sparsities, found {len(self.sparsities)}")
        for sparsity in self.sparsities:
            if not (math.isfinite(sparsity) and 0 <= sparsity <= 1):
                raise HarnessError(f"sparsity is {sparsity}; give a number from 0 to 1, such as 0.35")

    @property
    def level(self) -> str:
        """Return the sparsities as the id shows them: at least two decimals, joined by "+"."""
        return "+".join(_decimal(s) for s in self.sparsities) or "0.00"

    @property
    def id(self) -> str:
        """Return `target-component-method-layers-level`."""
        return f"{self.target}-{self.component}-{self.method}-{self.layers}-{self.level}"

    @property
    def plan(self) -> dict[str, float]:
        """Return the sparsity of every component that is pruned."""
        if self.method == DENSE:
            return {}
        names = COMPONENTS if self.component == "both" else (self.component,)
        return dict(zip(names, self.sparsities, strict=True))


def _decimal(sparsity: float) -> str:
    text = f"{sparsity:.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
