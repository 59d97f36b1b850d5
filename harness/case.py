"""A `Case` says what is pruned and how. A person types its id behind `-k`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.components import BOTH, DENOISERS, KINDS, SELECTIONS, selection
from harness.errors import HarnessError, unknown
from pruners import METHODS, Method
from pruners.levels import Level, Pattern

LAYERS = ("all", "linear", *KINDS)
DENSE = "dense"
# The method of a case whose pipeline another tool made is `candidate:NAME`, and its level is `given`.
CANDIDATE, GIVEN = "candidate:", "given"
COUNT, BACK = "count", "back_"
# Halves of the denoising steps.
WINDOWS = ("early", "late")
VARIANTS = (COUNT, *WINDOWS, *(BACK + kind for kind in KINDS))


@dataclass(frozen=True)
class Case:
    """One target, pruned in one way.

    Raises:
        HarnessError: A method, a component or a choice of layers does not exist, or a level is wrong.
    """

    target: str
    """The target's name in ids."""
    component: str = "none"
    """One name of `COMPONENTS`, several in that order joined by "+", "both" for the text encoder and the U-Net, or
    "none" for the dense case."""
    method: str = DENSE
    """A name of `METHODS` for all pruned components, or one per component joined by "+"; "dense" prunes nothing;
    "candidate:NAME" puts a pipeline of `--candidate` in the target's place."""
    layers: str = "none"
    """"all" prunes Linear and Conv2d layers, "linear" prunes Linear layers only, a name of `KINDS` prunes the layers of
    one kind or place, "none" belongs to the dense case."""
    levels: tuple[Level, ...] = ()
    """One sparsity in [0, 1] or one N:M pattern per pruned component, in the order of `components`; none for a
    candidate, whose weights are given."""
    variant: str = ""
    """A name of `VARIANTS`, or "". "count": levels are shares of all prunable weights of a component, and that many are
    pruned in the chosen layers. "early", "late": the denoiser is pruned in one half of the denoising steps only.
    "back_KIND": the layers of one kind get their dense weights back."""

    def __post_init__(self) -> None:
        if self.method == DENSE:
            if (self.component, self.layers, self.levels, self.variant) != ("none", "none", (), ""):
                raise HarnessError("a dense case prunes nothing: leave component, layers, levels and variant out")
            return
        given = [] if self.method.startswith(CANDIDATE) else self.method.split("+")
        for kind, name, known in (
            *(("method", name, METHODS) for name in given),
            *(("component", name, SELECTIONS) for name in self.component.split("+")),
            ("layers", self.layers, LAYERS),
            *(("variant", name, VARIANTS) for name in filter(None, [self.variant])),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        if self.component != selection(self.components):
            raise HarnessError(
                f"component {self.component!r} is spelled differently in ids; write {selection(self.components)!r}"
            )
        if not given:
            self._check_candidate()
            return
        wanted = len(self.components)
        if len(self.levels) != wanted:
            raise HarnessError(
                f"component {self.component} needs {wanted} sparsities, not {len(self.levels)}; give one per component"
            )
        if len(given) > 1 and len(set(given)) == 1:
            raise HarnessError(f"method {self.method!r} names one method more than once; write {given[0]!r}")
        if len(given) not in (1, wanted):
            raise HarnessError(
                f"component {self.component} needs one method, or {wanted} methods joined by +, not {self.method!r}"
            )
        for level, method in zip(self.levels, self.methods.values(), strict=True):
            if isinstance(level, Pattern):
                if METHODS[method].allocation != "uniform":
                    raise HarnessError(
                        f"method {method} gives each layer a sparsity of its own, but the pattern {level} fixes all; "
                        "give a sparsity such as 0.50"
                    )
            elif not (math.isfinite(level) and 0 <= level <= 1):
                raise HarnessError(f"sparsity {level} is not a number from 0 to 1; 0.35 prunes 35 %")
        self._check_variant()

    def _check_variant(self) -> None:
        if self.window and not set(self.components) <= set(DENOISERS):
            raise HarnessError(
                f"variant {self.variant} prunes in some denoising steps only, and {self.component} has a text encoder, "
                f"which runs before them; prune one of {', '.join(DENOISERS)}"
            )
        if self.variant == COUNT and (self.layers == "all" or any(isinstance(s, Pattern) for s in self.levels)):
            raise HarnessError(
                f"variant {COUNT} takes a share of all weights from some layers; give a sparsity, and a choice of "
                f"layers such as {KINDS[0]}"
            )
        uneven = [name for name, method in self.methods.items() if METHODS[method].allocation != "uniform"]
        if self.given_back and (uneven or self.given_back == self.layers):
            raise HarnessError(
                f"variant {self.variant} leaves no layer to prune; choose another"
                if not uneven
                else f"variant {self.variant}: method {self.method} gives each layer a sparsity of its own, so the "
                "remaining layers have another sparsity than the level; choose a method that prunes evenly"
            )

    def _check_candidate(self) -> None:
        if not self.candidate or set(self.candidate) & set("-+:/= "):
            raise HarnessError(
                f"method {self.method!r} names no candidate; write candidate:NAME, with letters, digits, _ and . only"
            )
        if self.layers != "all" or self.levels:
            raise HarnessError(f"method {self.method} is given as it is; give layers 'all' and no levels")

    @property
    def level(self) -> str:
        """Return the levels as the id shows them: at least two decimals or a pattern, joined by "+"; or "given"."""
        if self.candidate:
            return GIVEN
        return "+".join(_written(level) for level in self.levels) or "0.00"

    @property
    def group(self) -> str:
        """Return `target-component-method-layers`, and the variant: what all cases of one curve share."""
        return f"{self.target}-{self.component}-{self.method}-{self.layers}{self._suffix}"

    @property
    def id(self) -> str:
        """Return `target-component-method-layers-level`, and `-variant` where there is one."""
        return f"{self.target}-{self.component}-{self.method}-{self.layers}-{self.level}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return f"-{self.variant}" if self.variant else ""

    @property
    def window(self) -> str:
        """Return the half of the denoising steps in which the denoiser is pruned; "" for all steps."""
        return self.variant if self.variant in WINDOWS else ""

    @property
    def given_back(self) -> str:
        """Return the kind of layers that get their dense weights back; "" for none."""
        return self.variant.removeprefix(BACK) if self.variant.startswith(BACK) else ""

    @property
    def counted(self) -> str:
        """Return the choice of layers that the levels are shares of: "all" for the dense case and equal counts."""
        return "all" if self.is_dense or self.variant == COUNT else self.layers

    @property
    def is_dense(self) -> bool:
        """Return whether the case prunes nothing."""
        return self.method == DENSE

    @property
    def candidate(self) -> str:
        """Return the name of the candidate, "" where the case prunes the target."""
        return self.method.removeprefix(CANDIDATE) if self.method.startswith(CANDIDATE) else ""

    @property
    def components(self) -> tuple[str, ...]:
        """Return the components that the case prunes, or that its candidate brings."""
        if self.is_dense:
            return ()
        return BOTH if self.component == "both" else tuple(self.component.split("+"))

    @property
    def methods(self) -> dict[str, str]:
        """Return component → name of its method, for every pruned component. A candidate has none."""
        if self.candidate:
            return {}
        given = self.method.split("+")
        return dict(zip(self.components, given if len(given) > 1 else given * len(self.components), strict=True))

    @property
    def plan(self) -> dict[str, Level]:
        """Return component → level, for every pruned component. A candidate has none."""
        if self.candidate:
            return {}
        return dict(zip(self.components, self.levels, strict=True))

    @property
    def requested(self) -> dict[str, float]:
        """Return component → requested sparsity; a pattern counts as the share that it prunes."""
        return {c: level.sparsity if isinstance(level, Pattern) else level for c, level in self.plan.items()}

    @property
    def needs(self) -> frozenset[str]:
        """Return the names of all calibration statistics that the case's methods read: see `Method.needs`."""
        return frozenset().union(*(method.needs for method in self._used()))

    @property
    def calibrated(self) -> tuple[str, ...]:
        """Return the components whose method reads calibration statistics."""
        return tuple(component for component, name in self.methods.items() if METHODS[name].needs)

    @property
    def moves_weights(self) -> bool:
        """Return whether a method of the case changes the weights that survive."""
        return any(method.moves_weights for method in self._used())

    def _used(self) -> list[Method]:
        return [METHODS[name] for name in self.methods.values()]


def _written(level: Level) -> str:
    if isinstance(level, Pattern):
        return str(level)
    text = f"{level:.6f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
