"""One HTML file of a run, or of two: an overview, curves, a table of all cases, pictures side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import files
from harness.case import LAYERS
from harness.report import behind as behinds
from harness.report import groups as cells
from harness.report import panels
from harness.report.album import Album, Sheets, green_row
from harness.report.behind import Behind
from harness.report.curves import can_draw
from harness.report.moved import figures as moved_figures
from harness.report.terminal import figure
from harness.report.worst import Lost, scored, worst
from harness.results import Result

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.facts import Stack
    from harness.record import Record
    from harness.results import Results

NAME = "index.html"
# Written into every page, so that a command writes over no other file.
GENERATOR = '<meta name="generator" content="PruneGate">'
_CHANGES = 8


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


@dataclass(frozen=True)
class Entry:
    """One case of the table, with its pictures."""

    record: Record
    """The values of the case."""
    verdict: str
    """The verdict; "" for a dense model that no test judged."""
    red: bool
    """Whether the test failed."""
    own: str
    """CSS class of the case's pictures; "" where there are none."""
    dense: str
    """CSS class of the dense model's pictures."""
    behind: str
    """CSS class of the pictures behind: of the last green run, or of the other run."""
    holds: str = ""
    """Whether quality holds: the cell of the column `holds`."""
    lost: tuple[tuple[Lost, str, str], ...] = ()
    """The captions that lost most, each with CSS classes of the dense picture and of the case's, "" for the row's."""


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a page come from."""

    folders: tuple[Path, ...] = ()
    """Folders of `--report` and `--images`."""
    other: Mapping[str, str] = field(default_factory=dict)
    """Id → SHA-256 of the other run's row, see `Results.rows`; empty for a page of one run."""


def write(results: Results, folder: Path, images: Path | None = None) -> Path:
    """Write the page of a run.

    Args:
        results: The results of the run, with at least one case or latency.
        folder: The report's folder. It has the row of every case as `rows/ID.png`.
        images: The folder of `--images`, None where the run kept no pictures.

    Returns:
        The path of the page, `index.html` in the folder.

    Raises:
        HarnessError: A file cannot be written, or a picture cannot be read.
    """
    path = folder / NAME
    files.write(path, page(results, Pictures((folder, *([images] if images else [])))))
    return path


def page(results: Results, pictures: Pictures | None = None, behind: Behind | None = None) -> str:
    """Return the text of the page. It needs no other file and no network.

    Args:
        results: The results of a run, with at least one case or latency.
        pictures: Where its pictures come from; None: it has none.
        behind: The figures to compare with; None: those of the baselines.

    Raises:
        HarnessError: A picture cannot be read, or a metric is not registered.
    """
    # Not at the top: a run without a report needs no templates.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    compared = behinds.baselines(results) if behind is None else behind
    drawn = [name for name in LAYERS if can_draw(results, name)]
    sheets = Sheets()
    entries = _entries(results, pictures or Pictures(), compared, sheets)
    columns = cells.columns_of([entry.record for entry in entries])
    moved = behinds.changes(results, compared)
    return environment.get_template("page.html.jinja").render(
        generator=GENERATOR, counts=_counts(results), conditions=_conditions(results), verdicts=cells.VERDICTS,
        few=cells.few(result.record for result in results.cases), tally=_tally(results), said=_said(results),
        behind=compared, changes=moved[:_CHANGES], more_changes=max(0, len(moved) - _CHANGES),
        budget=cells.losses(results.budget), held=results.held, methods=panels.legend(results),
        curves=[row for name in drawn for row in panels.rows(results, name, compared)],
        entries=entries, columns=columns, level=cells.level, level_number=_level_number, scored=scored,
        delta=_delta, figure=figure, latencies=results.latencies, captions=results.captions, sheets=sheets.rules,
        gone=[case for case, said in compared.said.items() if said == "MISSING"],
        data=_data(results, entries, compared),
    )  # fmt: skip


def _entries(results: Results, pictures: Pictures, behind: Behind, sheets: Sheets) -> list[Entry]:
    """Return all cases, the dense models first, with their pictures."""
    judged = {result.record.case: result for result in results.cases}
    ordered = (result.record for group in cells.groups(results) for result in group.results)
    # A dense model is there once, as the first of its target's.
    every = {record.case: record for record in (*results.dense.values(), *ordered)}
    album = Album(pictures.folders, results.rows)
    other = Album(pictures.folders, pictures.other) if pictures.other else None
    dense = {target: sheets.add(album.strip(record.case.id)) for target, record in results.dense.items()}
    entries = []
    for record in every.values():
        case, result = record.case, judged.get(record.case)
        own = "" if record.spared else sheets.add(album.strip(case.id))
        was = other.strip(case.id) if other else _green(record, pictures.folders)
        lost = worst(record, results.dense.get(case.target), results.captions.get(case.target, ()))
        shown = tuple(_with_pictures(one, record, results.dense.get(case.target), album, sheets) for one in lost)
        entries.append(
            Entry(record, result.verdict if result else "", bool(result and result.red), own,
                  dense.get(case.target, ""), sheets.add(was) if own else "",
                  cells.holds(result) if result else "", shown)
        )  # fmt: skip
    return entries


def _green(record: Record, folders: Sequence[Path]) -> Image | None:
    from PIL import Image as pillow

    path = next((path for path in (green_row(record, folder) for folder in folders) if path.is_file()), None)
    if path is None:
        return None
    with pillow.open(path) as row:
        return row.convert("RGB")


def _with_pictures(
    lost: Lost, record: Record, dense: Record | None, album: Album, sheets: Sheets
) -> tuple[Lost, str, str]:
    if dense is None:
        return lost, "", ""
    before, own = (sheets.add(album.picture(one.case.id, lost.index)) for one in (dense, record))
    return lost, before, own


def _data(results: Results, entries: Sequence[Entry], behind: Behind) -> dict[str, Any]:
    """Return what the page's script reads: captions, and the values of every picture that is shown."""
    from harness import png
    from harness.metrics import METRICS

    def values(paired: Mapping[str, list[float]], texts: Sequence[str]) -> dict[str, list[float]]:
        return {
            METRICS[name].label: [round(value, 3) for value in numbers[: png.ACROSS]]
            for name, numbers in paired.items()
            if name in METRICS and METRICS[name].pairing == "caption" and len(numbers) == len(texts)
        }

    scores = {}
    for entry in entries:
        case, texts = entry.record.case, results.captions.get(entry.record.case.target, ())
        dense = results.dense.get(case.target)
        scores[case.id] = [
            values(dense.paired, texts) if dense else {},
            values(behind.paired.get(case, {}), texts),
            values(entry.record.paired, texts),
        ]
    shown = {target: texts[: png.ACROSS] for target, texts in results.captions.items()}
    label = "last green run" if not behind.said else behind.label
    return {"captions": shown, "scores": scores, "behind": label}


def _delta(column: cells.Column, record: Record, behind: Behind) -> tuple[str, str]:
    """Return the change of a cell as text, "" where it does not show, and "worse" or "better"."""
    metric = column.metric
    change = None if metric is None else behind.change(metric, record)
    if metric is None or change is None:
        return "", ""
    digits = metric.digits([record.quality[metric.name]])
    text = f"{change:+.{digits}f}"
    return ("", "") if float(text) == 0 else (text, "worse" if metric.worse_by(change) > 0 else "better")


def _level_number(record: Record) -> float:
    return sum(record.case.requested.values())


def _tally(results: Results) -> dict[str, tuple[int, bool]]:
    """Return verdict → how many cases have it, and whether they are red."""
    words = Counter((one.verdict, one.red) for one in results.cases if one.verdict)
    words.update((one.verdict, one.red) for one in results.latencies)
    return {
        word: (count, red) for (word, red), count in sorted(words.items(), key=lambda item: (not item[0][1], item[0]))
    }


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


def _whole(result: Result) -> str:
    """Return the reason of a verdict, and old → new of every figure."""
    moved = moved_figures(result.changes)
    return f"{result.reason}; baseline → now: {moved}" if moved else result.reason


def _said(results: Results) -> list[Said]:
    """Return the cases with a reason in their verdict, red ones first."""
    said = [Said(r.record.case.id, r.verdict, _whole(r), r.red) for r in results.cases if r.reason]
    said += [Said(r.case.id, f"latency: {r.verdict}", r.reason, r.red) for r in results.latencies if r.reason]
    return sorted(said, key=lambda entry: not entry.red)
