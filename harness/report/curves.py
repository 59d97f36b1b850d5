"""Quality against sparsity as an SVG: one panel per metric, one line per component and method, bars of one SE."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError
from harness.record import Record

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 230, 46, 34, 58
PANELS = (("composition", "composition accuracy"), ("clip", "CLIP score (100·cos)"), ("fid", "FID (lower is better)"))
STYLES = {
    ("text_encoder", "magnitude"): ("#1f6fb4", ""),
    ("unet", "magnitude"): ("#c8502b", ""),
    ("text_encoder", "random"): ("#1f6fb4", "5 4"),
    ("unet", "random"): ("#c8502b", "5 4"),
}


@dataclass(frozen=True)
class Scale:
    """Maps a value to a height inside a panel."""

    low: float
    high: float

    def y(self, value: float) -> float:
        """Return the distance from the top of the drawing."""
        return TOP + HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def draw(records: list[Record], layers: str = "all") -> str:
    """Return the SVG text. Lines start at the dense case where the file has it."""
    dense = [r for r in records if not r.requested]
    lines: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        _, component, method, kind, level = record.case.split("-")
        # A pattern of half the weights is no point between two sparsities.
        if (component, method) in STYLES and kind == layers and ":" not in level:
            lines.setdefault((component, method), []).append(record)
    if not lines:
        raise HarnessError(f"the file holds no case with the layers {layers!r}; try another --layers")
    panels = [(metric, title) for metric, title in PANELS if metric in records[0].quality]
    total = LEFT + len(panels) * (WIDTH + GAP)
    n = records[0].quality["clip"].n
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {TOP + HEIGHT + 76}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for i, (metric, title) in enumerate(panels):
        svg += _panel(LEFT + i * (WIDTH + GAP), metric, title, dense, lines)
    x = float(LEFT)
    for key in STYLES:
        if key in lines:
            colour, dash = STYLES[key]
            y = TOP + HEIGHT + 56
            svg.append(f'<path d="M{x} {y}h30" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
            svg.append(f'<text x="{x + 36}" y="{y + 4}">{key[0]}, {key[1]}</text>')
            x += 190
    svg.append(f'<text x="{x}" y="{TOP + HEIGHT + 60}">n = {n} captions, bars: ± 1 standard error</text></svg>')
    return "\n".join(svg) + "\n"


def _panel(
    left: float, metric: str, title: str, dense: list[Record], lines: dict[tuple[str, str], list[Record]]
) -> list[str]:
    every = [r.quality[metric] for rows in [dense, *lines.values()] for r in rows]
    low, high = min([0.0, *(m.value - m.se for m in every)]), max(m.value + m.se for m in every)
    scale = Scale(low, high + 0.04 * (high - low))
    svg = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{title}</text>']
    for k in range(6):
        value = low + (high - low) * k / 5
        y, x = scale.y(value), left + WIDTH * k / 5
        svg.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        svg.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{k * 20} %</text>')
    svg.append(f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 34}" text-anchor="middle">sparsity</text>')
    for key, rows in lines.items():
        colour, dash = STYLES[key]
        points = [(sum(r.requested.values()), r.quality[metric]) for r in [*dense, *rows]]
        points.sort(key=lambda point: point[0])
        path = " L".join(f"{left + WIDTH * s:.1f} {scale.y(m.value):.1f}" for s, m in points)
        svg.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        for s, m in points:
            x = left + WIDTH * s
            svg.append(f'<circle cx="{x:.1f}" cy="{scale.y(m.value):.1f}" r="2.5" fill="{colour}"/>')
            svg.append(
                f'<path d="M{x:.1f} {scale.y(m.value - m.se):.1f}V{scale.y(m.value + m.se):.1f}" stroke="{colour}"/>'
            )
    return svg
