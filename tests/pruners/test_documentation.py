"""`docs/methods.md` says of every method what its entry says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pruners import METHODS, Method
from pruners.allocate import OWL_LAMBDA, OWL_M
from pruners.sparsegpt import BLOCK, DAMPING

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
HEADER = ("method", "what it does", "compares within a", "spreads the sparsity", "reads", "survivors")
SPREADS = {"uniform": "evenly", "global": "by one threshold", "owl": "by outliers (OWL)"}


def row(method: Method) -> tuple[str, ...]:
    return (
        f"`{method.name}`",
        method.summary.replace("|", "\\|"),
        method.group,
        SPREADS[method.allocation],
        " and ".join(sorted(method.needs)) or "nothing",
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
    """Its pruner and its allocation have a heading of their own, or its name stands in the text."""
    text = PAGE.read_text(encoding="utf-8").partition("<!-- /methods -->")[2]
    pruner = method.prune.partition(":")[0].removeprefix("pruners.") if isinstance(method.prune, str) else method.name
    assert re.search(rf"^## {pruner}\b", text, re.MULTILINE | re.IGNORECASE)
    assert method.allocation == "uniform" or f"`{method.name}`" in text


@pytest.mark.parametrize(
    "said", [f"λ = {100 * DAMPING:g} %", f"M = {OWL_M:g}", f"λ = {OWL_LAMBDA}", f"{BLOCK} columns"]
)
def test_numbers_of_the_page_are_those_of_the_code(said: str) -> None:
    assert said in PAGE.read_text(encoding="utf-8")
