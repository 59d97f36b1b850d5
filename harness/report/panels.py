"""The curves of a page: an SVG per panel, with thresholds, and what is behind the run drawn behind its curves."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.curves import SETTINGS, Lines, Style, plot, rows_of, sparsity, styles
from harness.report.groups import metrics_of
from pruners import METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.holding import HeldTo
    from harness.metrics.metric import Metric
    from harness.record import Record
    from harness.report.behind import Behind
    from harness.results import Results

_WIDTH, _HEIGHT = 3.7, 2.7
# An SVG has 72 units to an inch.
_UNITS = 72
# What matplotlib writes at the start of a file, and names that several panels would share.
_NOISE = re.compile(
    r'<metadata>.*?</metadata>|<style type="text/css">.*?</style>|<\?xml[^>]*>|<!DOCTYPE[^>]*>| id="[A-Za-z.]+\w*_\d+"',
    re.DOTALL,
)
_OWN = re.compile(r'id="(line|bars|behind|holds)-([^"]*?)-([^"-]+)-(\w+)"')


@dataclass(frozen=True)
class Panel:
    """The curves of one metric."""

    label: str
    """The metric's label, and which way is better."""
    svg: str
    """An SVG element."""


@dataclass(frozen=True)
class Row:
    """The panels of one component."""

    title: str
    """Target, component and layers."""
    panels: tuple[Panel, ...]
    """A panel per metric."""


def rows(results: Results, layers: str, behind: Behind) -> list[Row]:
    """Return the rows of panels of one choice of layers. Panels of metrics of the budget show how far quality holds.

    Args:
        results: The results of a run that `curves.can_draw` draws.
        layers: A name of `LAYERS`.
        behind: Its figures are drawn behind the run's.
    """
    looks, held = styles(), {one.curve: one for one in results.held}
    drawn = []
    for (target, component), lines in rows_of(results, layers).items():
        records = [record for line in lines.values() for record in line]
        curves = {name: f"{target}-{component}-{name}-{layers}" for name in lines}
        own = {name: held[curve] for name, curve in curves.items() if curve in held}
        panels = tuple(
            _panel(
                metric,
                f"{target}.{component}.{layers}",
                lines,
                looks,
                behind,
                own if metric.name in results.budget else {},
            )
            for metric in metrics_of(records)
        )
        drawn.append(Row(f"{target}: {component}, {layers} layers", panels))
    return drawn


def legend(results: Results) -> dict[str, str]:
    """Return method → an SVG element with a piece of its line, for the methods that curves show."""
    looks = styles()
    shown = {result.record.case.method for result in results.cases}
    return {name: _swatch(looks[name]) for name in METHODS if name in shown}


def _swatch(look: Style) -> str:
    dashes = f' stroke-dasharray="{" ".join(f"{1.3 * part:g}" for part in look.dashes)}"' if look.dashes else ""
    colour = _ink(look.colour)
    path = f'<path d="M0 4H30" stroke="{colour}" stroke-width="1.6"{dashes}/>'
    return f'<svg viewBox="0 0 30 8" aria-hidden="true">{path}</svg>'


def _ink(colour: str) -> str:
    """Return black as the colour of the page's text, which is light in dark mode."""
    return "currentColor" if colour == "#000000" else colour


def _panel(
    metric: Metric, place: str, lines: Lines, looks: Mapping[str, Style], behind: Behind, held: Mapping[str, HeldTo]
) -> Panel:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Equal results give equal bytes.
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_UNITS)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.13, 0.17, 0.82, 0.8))
        _behind(axes, metric, place, lines, looks, behind)
        plot(axes, metric, place, lines, looks)
        _held(axes, metric, place, looks, held)
        spots = _spots(axes, metric, lines, behind)
        drawn = io.StringIO()
        nothing: dict[Any, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", metadata=nothing, transparent=True)
    better = "↓" if metric.lower_is_better else "↑"
    return Panel(f"{metric.label} {better}", _inline(drawn.getvalue(), metric.label, spots))


def _behind(axes: Axes, metric: Metric, place: str, lines: Lines, looks: Mapping[str, Style], behind: Behind) -> None:
    for name in (name for name in METHODS if name in lines):
        stored = [(100 * sparsity(r), behind.figures.get(r.case, {}).get(metric.name)) for r in lines[name]]
        points = [(x, figure.value) for x, figure in stored if figure is not None]
        (line,) = axes.plot([x for x, _ in points], [y for _, y in points], color=looks[name].colour, alpha=0.3, lw=4)
        line.set_gid(f"behind-{place}-{name}-{metric.name}")


def _held(axes: Axes, metric: Metric, place: str, looks: Mapping[str, Style], held: Mapping[str, HeldTo]) -> None:
    """Draw each method's largest sparsity that holds as a triangle at the foot, with its interval."""
    foot = axes.get_xaxis_transform()
    apart = min(0.035, 0.5 / max(1, len(held)))
    for i, (name, one) in enumerate(held.items()):
        low, last, high = (100 * x for x in (one.low, one.last, one.high))
        axes.plot(
            [low, last, high], [0.03 + apart * i] * 3, transform=foot, color=looks[name].colour, linewidth=1.6,
            marker="^", markersize=6, markevery=[1], clip_on=False,
        )[0].set_gid(f"holds-{place}-{name}-{metric.name}")  # fmt: skip


def _spots(axes: Axes, metric: Metric, lines: Lines, behind: Behind) -> str:
    """Return an invisible circle over every point. Its title says the case and the figure."""
    spots = []
    for name in (name for name in METHODS if name in lines):
        for record in lines[name]:
            figure = record.quality.get(metric.name)
            if figure is not None:
                x, y = axes.transData.transform((100 * sparsity(record), figure.value))
                title = html.escape(_title(metric, name, record, behind))
                spots.append(
                    f'<circle class="spot" data-method="{html.escape(name)}" cx="{x:.1f}" '
                    f'cy="{_HEIGHT * _UNITS - y:.1f}" r="5"><title>{title}</title></circle>'
                )
    return "".join(spots)


def _title(metric: Metric, name: str, record: Record, behind: Behind) -> str:
    level = "dense" if record.case.is_dense else f"{name} {record.case.level}"
    before = behind.figures.get(record.case, {}).get(metric.name)
    return f"{level}: {metric.label} {metric.text(record.quality[metric.name])}" + (
        f"; {behind.label} {metric.text(before)}" if before is not None else ""
    )


def _inline(drawn: str, label: str, spots: str) -> str:
    """Return an SVG file as an element of a page: in its colours, as wide as its place, and without its own names."""
    text = _NOISE.sub("", drawn)
    head = rf'<svg viewBox="\1" role="img" aria-label="{html.escape(label)}">'
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', head, text, count=1)
    text = text.replace("#000000", "currentColor").replace("#e4e4e4", "var(--rule)")
    text = _OWN.sub(r'id="\1-\2-\3-\4" data-method="\3"', text).replace("xlink:href", "href")
    return "\n".join(line for line in text.replace("</svg>", f"{spots}</svg>").splitlines() if line.strip())
