"""What the documentation says of the code is what the code says: tables, numbers, options, commands and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.matrix import quality_cases
from harness.components import BOTH
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.report.groups import COSTS, HOLDS
from harness.verdict.repository import Repository
from pruners import METHODS
from tests import commands

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
LINES = 150
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "harness" / "scenes" / "weights" / "README.md"]
PAGES += sorted(ROOT.glob("docs/**/*.md"))


def readme() -> str:
    return README.read_text(encoding="utf-8")


def between(name: str) -> str:
    """Return what the README has between `<!-- name -->` and `<!-- /name -->`."""
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", readme(), re.DOTALL)
    assert match, f"README.md has no part <!-- {name} -->"
    return match[1]


def where(metric: Metric) -> str:
    """Return where a metric is measured, as the README's table says it."""
    if "composition" in metric.takes:
        place = "`scenes`"
    elif "reference_features" in metric.takes:
        place = "your own pipelines, with `--reference`"
    elif "reference" in metric.takes:
        place = "`scenes`; your own pipelines, with `--reference`"
    else:
        place = "always"
    return place if metric.default else f"with `--metrics {metric.name}`"


def table(*rows: tuple[str, ...]) -> str:
    """Return rows as a Markdown table; the first row is the header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:], ""])


def metrics_table() -> str:
    rows = [(metric.label, metric.summary, metric.direction, where(metric)) for metric in METRICS.values()]
    return table(("metric", "what it is", "better", "measured"), *rows)


def methods_table() -> str:
    shown = {name for case in quality_cases("scenes", BOTH, "full") for name in case.methods.values()}
    rows = [
        (f"`{method.name}`", method.summary, ", ".join(sorted(method.needs)) or "none")
        for method in METHODS.values()
        if method.name in shown
    ]
    return table(("method", "rule", "calibration statistics"), *rows)


@pytest.mark.parametrize(("name", "wanted"), [("metrics", metrics_table()), ("methods", methods_table())])
def test_the_tables_follow_the_entries(name: str, wanted: str) -> None:
    assert between(name) == wanted, f"replace the part {name} of README.md by:\n{wanted}"


def test_the_output_has_the_columns_of_today() -> None:
    of_scenes = [m.label for m in METRICS.values() if m.default and "reference_features" not in m.takes]
    columns = re.split(r" {2,}", between("output").splitlines()[2].strip())
    assert columns == ["sparsity", *of_scenes, *(column.name for column in COSTS), HOLDS, "verdict"]


def test_the_number_of_comparisons_is_the_shipped_file_s() -> None:
    stated = re.search(r"α = 0\.01 / ([\d,]+)", readme())
    assert stated
    assert int(stated[1].replace(",", "")) == Repository.open(ROOT / "baselines.json").comparisons


@pytest.mark.parametrize(
    ("tier", "pattern"),
    [
        ("pr", r"default tier: (\d+) cases"),
        ("smoke", r"smoke +# (\d+) cases"),
        ("full", r"full +# (\d+) cases"),
        ("study", r"study +# (\d+) cases"),
    ],
)
def test_the_number_of_cases_is_the_matrix_s(tier: str, pattern: str) -> None:
    stated = re.search(pattern, readme())
    assert stated
    assert int(stated[1]) == len(quality_cases("scenes", BOTH, tier))


def test_the_first_screen_explains_the_output_and_what_pass_means() -> None:
    first = " ".join(" ".join(readme().splitlines()[:45]).split())
    for words in (
        "**PASS means: the figures did not change**",
        "It does not mean that the pictures are good.",
        "Whether quality *holds* is another question",
        "`zeros` (share of zero weights in the pruned layers), `s` (seconds of generating)",
        "They do not rank methods: random pruning can have a better FID than dense there.",
    ):
        assert words in first, words
    # The row of the output that passes and is useless is named.
    assert "The row 0.90 passes, and its pictures are useless." in first


def test_the_extra_is_installed_from_the_clone() -> None:
    """The project is on no package index."""
    told = [page.read_text(encoding="utf-8") for page in PAGES]
    assert not any("prunegate[" in text for text in told) and any("pip install -e '.[vision]'" in text for text in told)


def test_the_readme_is_short() -> None:
    assert len(readme().splitlines()) <= LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}; known are {', '.join(anchors(target))}"


def anchors(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def pieces(text: str) -> Iterator[str]:
    """Yield the lines of code of a page, continued lines joined and comments cut, and then its inline code."""
    for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.partition(" #")[0].removeprefix("$ ").strip()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def known_to(piece: str) -> frozenset[str]:
    """Return the options that a line of code may name."""
    command = re.search(r"(?:^|\s)prunegate (?:--plugin \S+ )?([a-z][a-z-]*)", piece)
    if command:
        return commands.of_command() | commands.of_command(command[1])
    tool = re.search(r"\bpython (tools/\w+\.py)", piece)
    if tool:
        return commands.of_tool(tool[1])
    if piece.startswith("ray "):
        return frozenset({"--head", "--port", "--address"})
    if re.search(r"\bpytest\b", piece):
        return commands.of_pytest()
    return commands.of_anything()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_commands_exist(page: Path) -> None:
    for piece in pieces(page.read_text(encoding="utf-8")):
        assert commands.named_in(piece) <= known_to(piece), f"{page.name}: {piece}"
        assert "docs/measurements/" not in piece or piece.endswith(".md"), f"{page.name}: {piece}"


def test_the_check_of_options_sees_what_it_should() -> None:
    found = list(pieces("```\n$ prunegate prune x \\\n  --nonsense  # --comment\n```\nand `--update-baselines`\n"))
    assert found == ["prunegate prune x    --nonsense", "--update-baselines"]
    assert not commands.named_in(found[0]) <= known_to(found[0])
    assert commands.named_in(found[1]) <= known_to(found[1])


def test_docs_hold_text_and_pictures_only() -> None:
    kinds = {path.suffix for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert kinds == {".md", ".png", ".svg"}
