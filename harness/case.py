"""A `Case` is everything that defines one run, and its id is what a person types behind `-k`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import HarnessError, unknown
from pruners import METHODS
from pruners.levels import Level, Pattern

COMPONENTS = ("text_encoder", "unet")
SELECTIONS = (*COMPONENTS, "both")
LAYERS = ("all", "linear")
DENSE = "dense"


@dataclass(frozen=True)
class Case:
    """One target, pruned in one way.

    component: "text_encoder", "unet", "both" or, for the dense case, "none". layers: "all" (Linear and Conv2d),
    "linear", or "none". levels: a sparsity in [0, 1] or a pattern per pruned component, text encoder first.
    Raises HarnessError for a method, component or layer choice that does not exist and for a wrong level.
    """

    target: str
    component: str = "none"
    method: str = DENSE
    layers: str = "none"
    levels: tuple[Level, ...] = ()

    def __post_init__(self) -> None:
        if self.method == DENSE:
            if (self.component, self.layers, self.levels) != ("none", "none", ()):
                raise HarnessError("a dense case prunes nothing: leave component, layers and levels out")
            return
        for kind, name, known in (
            ("method", self.method, METHODS),
            ("component", self.component, SELECTIONS),
            ("layers", self.layers, LAYERS),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        wanted = 2 if self.component == "both" else 1
        if len(self.levels) != wanted:
            raise HarnessError(f"{self.component} wants {wanted} sparsities, found {len(self.levels)}")
        for level in self.levels:
            if isinstance(level, Pattern):
                if METHODS[self.method][0] != "uniform":
                    raise HarnessError(
                        f"{self.method} spreads a sparsity over layers; the pattern {level} leaves no choice"
                    )
            elif not (math.isfinite(level) and 0 <= level <= 1):
                raise HarnessError(f"sparsity is {level}; give a number from 0 to 1, such as 0.35")

    @property
    def level(self) -> str:
        """Return the levels as the id shows them: at least two decimals or a pattern, joined by "+"."""
        return "+".join(_written(level) for level in self.levels) or "0.00"

    @property
    def id(self) -> str:
        """Return `target-component-method-layers-level`."""
        return f"{self.target}-{self.component}-{self.method}-{self.layers}-{self.level}"

    @property
    def plan(self) -> dict[str, Level]:
        """Return the level of every component that is pruned."""
        if self.method == DENSE:
            return {}
        names = COMPONENTS if self.component == "both" else (self.component,)
        return dict(zip(names, self.levels, strict=True))

    @property
    def requested(self) -> dict[str, float]:
        """Return the sparsity that every pruned component is to have."""
        return {c: level.sparsity if isinstance(level, Pattern) else level for c, level in self.plan.items()}


def _written(level: Level) -> str:
    if isinstance(level, Pattern):
        return str(level)
    text = f"{level:.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
