"""Quality against sparsity as an SVG: a row per target and component, a panel per metric, a line per method."""

from __future__ import annotations

import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.case import LAYERS
from harness.errors import HarnessError, unknown
from harness.metrics import METRICS
from harness.report.groups import captions_in, metrics_of
from pruners import METHODS
from pruners.levels import Pattern

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from harness.metrics.metric import Metric
    from harness.record import Record
    from harness.results import Results

# Colours that the colour-blind tell apart: Okabe and Ito, 2008, with grey for their yellow.
COLOURS = ("#000000", "#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (6, 2, 1, 2), (3, 1, 1, 1, 1, 1))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
# Settings of matplotlib. Ids are salted with a fixed text.
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "prunegate", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.0,
    "path.simplify": False,
}  # fmt: skip
_ACROSS = 3
_WIDTH, _HEIGHT, _ABOVE = 3.7, 2.7, 0.5


@dataclass(frozen=True)
class Style:
    """The look of one method's line."""

    colour: str
    """The colour of the pruner: methods that share a pruner share a colour."""
    dashes: tuple[float, ...]
    """The dashes of the allocation: lengths of ink and gap, empty for a solid line."""
    marker: str
    """The marker of the method. No two methods look alike as long as there are enough markers."""

    @property
    def linestyle(self) -> Literal["solid"] | tuple[float, tuple[float, ...]]:
        """Return the dashes as matplotlib writes them."""
        return (0, self.dashes) if self.dashes else "solid"


def styles() -> dict[str, Style]:
    """Return a style for every entry of `METHODS`, also for methods that a user has registered."""
    pruners = list(dict.fromkeys(method.prune for method in METHODS.values()))
    allocations = list(dict.fromkeys(method.allocation for method in METHODS.values()))
    looks: dict[str, Style] = {}
    for i, (name, method) in enumerate(METHODS.items()):
        colour = COLOURS[pruners.index(method.prune) % len(COLOURS)]
        dashes = DASHES[allocations.index(method.allocation) % len(DASHES)]
        possible = [Style(colour, dashes, MARKERS[(i + k) % len(MARKERS)]) for k in range(len(MARKERS))]
        looks[name] = next((look for look in possible if look not in looks.values()), possible[0])
    return looks


# Method → its records and the dense model's, by sparsity.
Lines = Mapping[str, Sequence["Record"]]


def draw(results: Results, layers: str = "all", metrics: Sequence[str] | None = None) -> str:
    """Draw the cases that prune one component at a sparsity. Every line starts at the target's dense model.

    Args:
        results: The results of a run.
        layers: A name of `LAYERS`; cases with another choice of layers are left out.
        metrics: Names of the metrics to draw, in order; None: all that were measured.

    Returns:
        The text of an SVG file. Equal results give equal text.

    Raises:
        HarnessError: No case can be drawn, or a name is unknown.
    """
    if layers not in LAYERS:
        raise unknown("--layers", layers, LAYERS)
    records = {result.record.case: result.record for result in results.cases}
    chosen = [record for record in records.values() if record.case.layers == layers]
    drawn = [record for record in chosen if _is_point(record)]
    if not drawn:
        raise HarnessError(f"--layers {layers}: no case of the run prunes one component at a sparsity; use another one")
    rows = rows_of(results, layers)
    shown = _panels([record for lines in rows.values() for line in lines.values() for record in line], metrics)
    about = f"n = {captions_in(drawn)} captions; bars: ± 1 standard error"
    if len(drawn) < len(chosen):
        about += f"; not drawn: {len(chosen) - len(drawn)} with an N:M pattern, a variant or several components"
    return _svg(rows, shown, about)


def rows_of(results: Results, layers: str) -> dict[tuple[str, str], Lines]:
    """Return (target, component) → the curves of its methods, of the cases that prune one component at a sparsity.

    Args:
        results: The results of a run.
        layers: A name of `LAYERS`; cases with another choice of layers are left out.
    """
    records = {result.record.case: result.record for result in results.cases}
    rows: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records.values():
        if record.case.layers == layers and _is_point(record):
            rows[record.case.target, record.case.component][record.case.method].append(record)
    for (target, _), lines in rows.items():
        for line in lines.values():
            line.extend(filter(None, [results.dense.get(target)]))
            line.sort(key=sparsity)
    return dict(sorted(rows.items()))


def can_draw(results: Results, layers: str) -> bool:
    """Return whether a run has a case with this choice of layers that `draw` draws."""
    return any(result.record.case.layers == layers and _is_point(result.record) for result in results.cases)


def _is_point(record: Record) -> bool:
    levels = record.case.levels
    return len(levels) == 1 and not isinstance(levels[0], Pattern) and not record.case.variant


def sparsity(record: Record) -> float:
    """Return the requested sparsity of a record's case, 0 for the dense model."""
    return sum(record.case.requested.values())


def _panels(records: Sequence[Record], names: Sequence[str] | None) -> list[Metric]:
    measured = metrics_of(records)
    if names is None:
        return measured
    for name in names:
        if name not in METRICS:
            raise unknown("--metrics", name, METRICS)
        if METRICS[name] not in measured:
            raise HarnessError(f"--metrics {name}: the run has not measured it; measure again with --metrics {name}")
    return [METRICS[name] for name in names]


def _svg(rows: Mapping[tuple[str, str], Lines], metrics: Sequence[Metric], about: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(metrics))
    down = math.ceil(len(metrics) / across)
    used = [name for name in METHODS if any(name in lines for lines in rows.values())]
    looks = styles()
    foot = 0.3 + 0.22 * math.ceil(len(used) / (2 * across))
    high = len(rows) * (_ABOVE + down * _HEIGHT)
    # Equal results give equal bytes: the file names no date.
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(across * _WIDTH, high + foot), layout="constrained")
        FigureCanvasSVG(figure)
        halves = figure.subfigures(2, 1, squeeze=False, height_ratios=(high, foot))
        parts = halves[0, 0].subfigures(len(rows), 1, squeeze=False)
        several = len({target for target, _ in rows}) > 1
        for i, ((target, component), lines) in enumerate(rows.items()):
            part = parts[i, 0]
            name = f"{target}: {component}" if several else component
            part.suptitle(name, x=0.01, ha="left", fontweight="bold", parse_math=False)
            axes = [*part.subplots(down, across, squeeze=False).flat]
            for panel, metric in zip(axes, metrics, strict=False):
                better = "↓" if metric.lower_is_better else "↑"
                panel.set_title(f"{metric.label} {better}", fontsize=9, parse_math=False)
                plot(panel, metric, str(i), lines, looks)
            for panel in axes[len(metrics) :]:
                panel.set_axis_off()
        _foot(halves[1, 0], used, looks, about, 2 * across)
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", metadata=nothing)
    return _numbered(drawn.getvalue())


def _numbered(svg: str) -> str:
    """Return a figure whose clipping rectangles are numbered.

    Their names are hashes of their corners, and the layout's solver does not repeat the last digits of those.
    """
    for i, name in enumerate(dict.fromkeys(re.findall(r'<clipPath id="(\w+)"', svg))):
        svg = svg.replace(name, f"clip{i}")
    return svg


def plot(axes: Axes, metric: Metric, place: str, lines: Lines, looks: Mapping[str, Style]) -> None:
    """Draw the curves of one metric, and the axes.

    Args:
        axes: Where to draw.
        metric: The metric.
        place: Sets the names of this panel's lines apart from those of others.
        lines: Method → records.
        looks: Method → style.
    """
    low = 0.0
    for name in (name for name in METHODS if name in lines):
        look = looks[name]
        points = [(sparsity(r), r.quality[metric.name]) for r in lines[name] if metric.name in r.quality]
        low = min([low, *(figure.value - figure.se for _, figure in points)])
        drawn = axes.errorbar(
            [100 * x for x, _ in points],
            [figure.value for _, figure in points],
            [figure.se for _, figure in points],
            color=look.colour, linestyle=look.linestyle, linewidth=1.3, elinewidth=0.9, marker=look.marker,
            markersize=3.5,
        )  # fmt: skip
        drawn.lines[0].set_gid(f"line-{place}-{name}-{metric.name}")
        for bars in drawn.lines[2]:
            bars.set_gid(f"bars-{place}-{name}-{metric.name}")
    axes.set_xlim(-2, 102)
    axes.set_ylim(bottom=low * 1.05)
    axes.set_xticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
    axes.set_xlabel("sparsity")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _foot(
    figure: Figure | SubFigure, names: Sequence[str], looks: Mapping[str, Style], about: str, columns: int
) -> None:
    """Draw the legend of all panels, and a line of text below."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=looks[name].colour, linestyle=looks[name].linestyle, linewidth=1.3,
            marker=looks[name].marker, markersize=4,
        )
        for name in names
    ]  # fmt: skip
    # The labels are set afterwards: a legend leaves out a label that starts with "_".
    legend = figure.legend(
        handles, ["method"] * len(names), loc="upper center", ncols=columns, frameon=False, handlelength=3.5
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
    figure.text(0.99, 0.02, about, ha="right", va="bottom", fontsize=8, parse_math=False)
