"""Quality against sparsity as an SVG: a row per component, a panel per metric, a line per method, bars of one SE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from harness.errors import HarnessError
from harness.record import Record

WIDTH, HEIGHT, LEFT, TOP, GAP, BELOW = 300, 210, 52, 34, 62, 48
PANELS = (
    ("composition", "composition accuracy"),
    ("clip", "CLIP score (100·cos)"),
    ("fid", "FID (lower is better)"),
    ("fid_dense", "FID to the dense model's pictures"),
)
# Colours that the colour-blind tell apart (Okabe and Ito, 2008), and dashes for OWL and the control.
STYLES = {
    "magnitude": ("#000000", ""),
    "wanda": ("#0072b2", ""),
    "sparsegpt": ("#d55e00", ""),
    "global_magnitude": ("#009e73", ""),
    "owl_magnitude": ("#000000", "6 4"),
    "owl_wanda": ("#0072b2", "6 4"),
    "owl_sparsegpt": ("#d55e00", "6 4"),
    "random": ("#999999", "2 3"),
}
# Method → the dense case and the method's own, by sparsity.
Lines = dict[str, list[Record]]


@dataclass(frozen=True)
class Scale:
    """Maps values to heights inside a panel whose upper edge is at `top`."""

    low: float
    high: float
    top: float

    def y(self, value: float) -> float:
        """Return the distance from the top of the drawing."""
        return self.top + HEIGHT * (1 - (value - self.low) / (self.high - self.low))

    def ticks(self) -> list[float]:
        """Return three to eight round values."""
        size = 10 ** math.floor(math.log10(self.high - self.low))
        step = next(part * size for part in (0.2, 0.25, 0.5, 1, 2) if (self.high - self.low) / (part * size) <= 7)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def draw(records: list[Record], layers: str = "all") -> str:
    """Return the SVG text: what prunes one component, at sparsities; lines start at the target's dense case.

    Raises HarnessError where no case has these layers.
    """
    dense = {record.case.split("-")[0]: record for record in records if not record.requested}
    rows: dict[tuple[str, str], Lines] = {}
    for record in records:
        target, component, method, kind, level = record.case.split("-")
        # A pattern of half the weights is no point between two sparsities.
        if method in STYLES and kind == layers and len(record.requested) == 1 and ":" not in level:
            line = rows.setdefault((target, component), {})
            line.setdefault(method, [dense[target]] if target in dense else []).append(record)
    if not rows:
        raise HarnessError(f"the file holds no case with the layers {layers!r}; try another --layers")
    several = len({target for target, _ in rows}) > 1
    shown = [(m, title) for m, title in PANELS if any(m in r.quality for r in records)][:3]
    width, deep = LEFT + len(shown) * (WIDTH + GAP), TOP + HEIGHT + BELOW
    total = len(rows) * deep + 24
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for i, ((target, component), lines) in enumerate(sorted(rows.items())):
        name = f"{target}: {component}" if several else component
        for k, (metric, title) in enumerate(shown):
            svg += _panel(LEFT + k * (WIDTH + GAP), i * deep + TOP, metric, f"{name}: {title}", lines)
    used = [method for method in STYLES if any(method in lines for lines in rows.values())]
    for i, method in enumerate(used):
        x, (colour, dash) = LEFT + i * 128, STYLES[method]
        svg.append(f'<path d="M{x} {total - 20}h26" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        svg.append(f'<text x="{x + 30}" y="{total - 16}" font-size="11">{method}</text>')
    n = records[0].quality["clip"].n
    caption = f"n = {n} captions, bars: ± 1 standard error"
    svg.append(f'<text x="{width - 10}" y="{total - 3}" text-anchor="end" font-size="11">{caption}</text></svg>')
    return "\n".join(svg) + "\n"


def _panel(left: float, top: float, metric: str, title: str, lines: Lines) -> list[str]:
    every = [r.quality[metric] for rows in lines.values() for r in rows if metric in r.quality]
    if not every:
        return []
    low, high = min([0.0, *(m.value - m.se for m in every)]), max(m.value + m.se for m in every)
    scale = Scale(low, high + 0.04 * (high - low) + 1e-9, top)
    svg = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{escape(title)}</text>']
    for value in scale.ticks():
        svg.append(f'<path d="M{left} {scale.y(value):.1f}h{WIDTH}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{left - 6}" y="{scale.y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for k in range(6):
        x = left + WIDTH * k / 5
        svg.append(f'<text x="{x}" y="{top + HEIGHT + 18}" text-anchor="middle">{k * 20} %</text>')
    svg.append(f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT + 34}" text-anchor="middle">sparsity</text>')
    for method in (name for name in STYLES if name in lines):
        colour, dash = STYLES[method]
        points = [(sum(r.requested.values()), r.quality[metric]) for r in lines[method] if metric in r.quality]
        points.sort(key=lambda point: point[0])
        path = " L".join(f"{left + WIDTH * s:.1f} {scale.y(m.value):.1f}" for s, m in points)
        svg.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"/>')
        for s, m in points:
            x, ends = left + WIDTH * s, (scale.y(m.value - m.se), scale.y(m.value + m.se))
            svg.append(f'<path d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}" stroke="{colour}"/>')
            svg.append(f'<circle cx="{x:.1f}" cy="{scale.y(m.value):.1f}" r="2" fill="{colour}"/>')
    return svg
