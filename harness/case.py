"""A `Case` is everything that defines one run, and its id is what a person types behind `-k`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import HarnessError, unknown
from pruners import METHODS
from pruners.levels import Level, Pattern

# In the order in which ids, levels and reports name them.
COMPONENTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "transformer")
BOTH = ("text_encoder", "unet")
SELECTIONS = (*COMPONENTS, "both")
LAYERS = ("all", "linear")
DENSE = "dense"


@dataclass(frozen=True)
class Case:
    """One target, pruned in one way.

    component: one of `COMPONENTS`, several of them in that order joined by "+", "both" for the text encoder and the
    U-Net, or, for the dense case, "none". method: one for all pruned components, or one for each joined by "+". layers:
    "all" (Linear and Conv2d), "linear", or "none". levels: a sparsity in [0, 1] or a pattern per pruned component, in
    the same order. Raises HarnessError for a method, component or layer choice that does not exist and for a wrong
    level.
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
        given = self.method.split("+")
        for kind, name, known in (
            *(("method", name, METHODS) for name in given),
            *(("component", name, SELECTIONS) for name in self.component.split("+")),
            ("layers", self.layers, LAYERS),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        if self.component != selection(self.components):
            raise HarnessError(f"component {self.component!r} is written {selection(self.components)!r}")
        wanted = len(self.components)
        if len(self.levels) != wanted:
            raise HarnessError(f"{self.component} wants {wanted} sparsities, found {len(self.levels)}")
        if len(given) > 1 and len(set(given)) == 1:
            raise HarnessError(f"method {self.method!r} is written {given[0]!r}")
        if len(given) not in (1, wanted):
            raise HarnessError(f"{self.component} wants one method, or {wanted} joined by +, found {self.method}")
        for level, method in zip(self.levels, self.methods.values(), strict=True):
            if isinstance(level, Pattern):
                if METHODS[method][0] != "uniform":
                    raise HarnessError(f"{method} spreads a sparsity over layers; the pattern {level} leaves no choice")
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
    def components(self) -> tuple[str, ...]:
        """Return the components that are pruned."""
        if self.method == DENSE:
            return ()
        return BOTH if self.component == "both" else tuple(self.component.split("+"))

    @property
    def methods(self) -> dict[str, str]:
        """Return the method of every component that is pruned."""
        given = self.method.split("+")
        return dict(zip(self.components, given if len(given) > 1 else given * len(self.components), strict=True))

    @property
    def plan(self) -> dict[str, Level]:
        """Return the level of every component that is pruned."""
        return dict(zip(self.components, self.levels, strict=True))

    @property
    def requested(self) -> dict[str, float]:
        """Return the sparsity that every pruned component is to have."""
        return {c: level.sparsity if isinstance(level, Pattern) else level for c, level in self.plan.items()}


def selection(components: Iterable[str]) -> str:
    """Return how an id names some components: in their order, each once, joined by "+", or "both"."""
    chosen = set(components)
    names = tuple(name for name in COMPONENTS if name in chosen)
    return "both" if names == BOTH else "+".join(names)


def _written(level: Level) -> str:
    if isinstance(level, Pattern):
        return str(level)
    text = f"{level:.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
