"""`docs/methods.md` says of every method what its entry says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pruners import METHODS, Method
from pruners.allocate import OWL_LAMBDA, OWL_M
from pruners.alpha import EPSILON
from pruners.dsnot import CYCLES
from pruners.obsdiff import FALL, FIRST, PACKAGES
from pruners.sparsegpt import BLOCK, DAMPING
from pruners.swaps import CANDIDATES, ROUNDS

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
HEADER = ("method", "what it does", "compares within a", "spreads the sparsity", "reads", "refined by", "survivors")
SPREADS = {
    "uniform": "evenly", "global": "by one threshold", "global_wanda": "by one threshold",
    "global_ria": "by one threshold", "owl": "by outliers (OWL)", "alpha": "by spectra (AlphaPruning)",
}  # fmt: skip


def module(place: object) -> str:
    """Return the name of the module of ours that a place such as "pruners.wanda:prune" names, "" for none."""
    return place.partition(":")[0].removeprefix("pruners.") if isinstance(place, str) else ""


def row(method: Method) -> tuple[str, ...]:
    return (
        f"`{method.name}`",
        method.summary.replace("|", "\\|"),
        method.group,
        SPREADS[method.allocation],
        " and ".join(sorted(method.needs)) or "nothing",
        module(method.refine) or "nothing",
        "move" if method.moves_weights else "stay",
    )


def table() -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADER, *map(row, METHODS.values()))]
    return "\n".join([lines[0], "|---" * len(HEADER) + "|", *lines[1:], ""])


def test_the_table_follows_the_entries() -> None:
    match = re.search(r"<!-- methods -->\n(.*?)<!-- /methods -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match and match[1] == table(), f"replace the table of docs/methods.md by:\n{table()}"


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_is_described_below_the_table(method: Method) -> None:
    """Its pruner and its refiner have a heading of their own; if it is more than a pruner, its name is in the text."""
    text = PAGE.read_text(encoding="utf-8").partition("<!-- /methods -->")[2]
    for part in filter(None, (module(method.prune), module(method.refine))):
        assert re.search(rf"^## {part}\b", text, re.MULTILINE | re.IGNORECASE)
    plain = method.allocation == "uniform" and not method.refine and method.packages == 1
    assert plain or f"`{method.name}`" in text


@pytest.mark.parametrize(
    "said",
    [
        f"λ = {100 * DAMPING:g} %",
        f"M = {OWL_M:g}",
        f"λ = {OWL_LAMBDA}",
        f"{BLOCK} columns",
        f"ε = {EPSILON}",
        f"{CYCLES} cycles",
        f"{FIRST - FALL:g} + {FALL} ·",
        f"{PACKAGES} packages",
        f"{CANDIDATES} weights",
        f"{ROUNDS} swaps",
    ],
)
def test_numbers_of_the_page_are_those_of_the_code(said: str) -> None:
    assert said in PAGE.read_text(encoding="utf-8")
