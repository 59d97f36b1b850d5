"""One HTML page of a run: red cases with their reasons, curves, and every case's figures and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files
from harness.case import LAYERS
from harness.report import groups as cells
from harness.report.curves import can_draw, draw
from harness.report.terminal import figure
from harness.results import Result

if TYPE_CHECKING:
    from harness.facts import Stack
    from harness.report.groups import Group
    from harness.results import Results

NAME = "index.html"


@dataclass(frozen=True)
class Said:
    """A case whose verdict has a reason."""

    case: str
    """The id of the case."""
    verdict: str
    """The verdict and the gate that decided."""
    reason: str
    """Why the verdict is not PASS."""
    red: bool
    """Whether the test failed."""


def write(results: Results, folder: Path) -> Path:
    """Write the page of a run and its curves.

    Args:
        results: The results of the run, with at least one case or latency.
        folder: The report's folder. It has the row of every case as `rows/ID.png`.

    Returns:
        The path of the page, `index.html` in the folder.

    Raises:
        HarnessError: A file cannot be written.
    """
    curves = {layers: f"curves-{layers}.svg" for layers in LAYERS if can_draw(results, layers)}
    for layers, name in curves.items():
        files.write(folder / name, draw(results, layers))
    path = folder / NAME
    files.write(path, page(results, curves))
    return path


def page(results: Results, curves: Mapping[str, str]) -> str:
    """Return the text of the page.

    Args:
        results: The results of a run, with at least one case or latency.
        curves: Choice of layers → the file beside the page that shows its curves.
    """
    # Not at the top: a run without a report needs no templates.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    shown = _groups(results)
    return environment.get_template("page.html.jinja").render(
        counts=_counts(results), conditions=_conditions(results), verdicts=cells.VERDICTS, said=_said(results),
        curves=curves, groups=shown, rows=_rows, level=cells.level, figure=figure,
        latencies=results.latencies, captions=results.captions, columns=cells.columns(shown),
        few=cells.few(result.record for result in results.cases),
    )  # fmt: skip


def _groups(results: Results) -> list[Group]:
    """Return all groups to show. A dense model has no group of its own if it is the first row of other groups."""
    every = cells.groups(results)
    pruned = {group.case.target for group in every if not group.case.is_dense}
    return [group for group in every if not (group.case.is_dense and group.case.target in pruned)]


def _rows(group: Group) -> list[Result]:
    """Return the rows of a group's table, the dense model first."""
    dense = [] if group.dense is None or group.case.is_dense else [Result(group.dense, "")]
    return [*dense, *group.results]


def _counts(results: Results) -> str:
    red = sum(result.red for result in results.cases) + sum(result.red for result in results.latencies)
    total = len(results.cases) + len(results.latencies)
    n = cells.captions_in(result.record for result in results.cases)
    captions = f", n = {n} captions, ± one standard error" if n else ""
    return f"{total} case{'s' if total != 1 else ''}, {red or 'none'} red{captions}"


def _conditions(results: Results) -> str:
    """Return the conditions of the run, one line where all cases share them."""
    lines = {
        f"{_stack(conditions.stack)}, {conditions.threads} threads, batches of {conditions.batch_size}"
        for conditions in (result.record.conditions for result in results.cases)
    }
    return "; ".join(sorted(lines or {_stack(result.stack) for result in results.latencies}))


def _stack(stack: Stack) -> str:
    versions = f"torch {stack.torch}, diffusers {stack.diffusers}, transformers {stack.transformers}"
    return f"{stack.device}, {stack.dtype}, {versions}"


def _said(results: Results) -> list[Said]:
    """Return the cases with a reason in their verdict, red ones first."""
    said = [Said(r.record.case.id, r.verdict, r.reason, r.red) for r in results.cases if r.reason]
    said += [Said(r.case.id, f"latency: {r.verdict}", r.reason, r.red) for r in results.latencies if r.reason]
    return sorted(said, key=lambda entry: not entry.red)
