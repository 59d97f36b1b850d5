"""Entries of `METHODS`: what may stand in them, how one is added from outside, and what listing them imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from torch import Tensor

from pruners import METHODS, STATISTICS, Method, register
from pruners import magnitude as magnitude_module
from pruners.allocate import ALLOCATIONS
from pruners.levels import Level
from pruners.types import LayerStats, Pruned


def outside(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return magnitude_module.prune(-weight, stats, levels, seed)


MINE = Method("mine", outside, "layer", "as magnitude")


@pytest.fixture
def clean() -> Iterator[None]:
    """Take what a test has added out again."""
    known = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(known)


def test_a_method_is_added_from_outside_and_stays_the_only_one_of_its_name(clean: None) -> None:
    register(MINE)
    register(MINE)
    assert METHODS["mine"].pruner() is outside
    with pytest.raises(ValueError, match="method mine exists already"):
        register(replace(MINE, group="row"))
    assert METHODS["mine"] == MINE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "my-method"}, "other characters"),
        ({"group": "column"}, "use layer, row or block"),
        ({"needs": frozenset({"gradients"})}, "known statistics: squares, sums, gram, steps"),
    ],
)
def test_an_entry_that_says_something_unknown_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(MINE, **change)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_entry_names_things_that_exist(method: Method) -> None:
    assert callable(method.pruner())
    assert method.allocation in ALLOCATIONS
    assert method.needs <= {*STATISTICS}


def test_a_function_that_was_replaced_in_its_module_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magnitude_module, "prune", outside)
    assert METHODS["magnitude"].pruner() is outside


def test_listing_the_methods_imports_no_torch() -> None:
    code = "import sys, pruners, pruners.levels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = code.replace("pruners.levels", "pruners.types")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
