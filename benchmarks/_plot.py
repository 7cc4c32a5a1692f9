"""Two curves over the number of clients as SVG, without a library: the median answer, and answers a second; logarithmic axes."""

from __future__ import annotations

import math
from typing import Final

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 430, 330, 60, 40, 60, 40
COLOURS: Final = ("#1f6f8b", "#d17a22", "#6b6b6b", "#7a3e9d")
STYLE: Final = "text{font:12px sans-serif;fill:#333} .t{font-weight:bold} .g{stroke:#ddd} .m{text-anchor:middle} .e{text-anchor:end}"


def curves(found: list[tuple[str, int, float, float]]) -> str:
    """Return the picture of (label, clients, p50 in ms, answers a second)."""
    labels = list(dict.fromkeys(row[0] for row in found))
    p50 = {label: [(row[1], row[2]) for row in found if row[0] == label] for label in labels}
    rate = {label: [(row[1], row[3]) for row in found if row[0] == label] for label in labels}
    width, height = 2 * WIDTH + GAP, HEIGHT + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Release of one key for 1 to 256 clients, beside OpenBao transit decrypt</title>",
        f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        *_panel("median answer, ms", p50, 0),
        *_panel("answers a second", rate, WIDTH + GAP),
    ]
    for number, label in enumerate(labels):
        x, y, colour = LEFT + number * 220, HEIGHT + 12, COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{colour}"/><text x="{x + 24}" y="{y - 2}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, lines: dict[str, list[tuple[int, float]]], left: int) -> list[str]:
    points = [point for line in lines.values() for point in line]
    counts = sorted({x for x, _ in points})
    low = math.floor(math.log10(min(y for _, y in points)))
    high = max(low + 1, math.ceil(math.log10(max(y for _, y in points))))
    span = math.log2(counts[-1] / counts[0]) or 1.0

    def at(count: int, value: float) -> tuple[float, float]:
        across = math.log2(count / counts[0]) / span
        up = (math.log10(value) - low) / (high - low)
        return left + LEFT + across * (WIDTH - LEFT - 20), TOP + (1 - up) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text class="t" x="{left + LEFT}" y="22">{title}</text>']
    for power in range(low, high + 1):
        x, y = at(counts[0], 10.0**power)
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{y:.1f}" x2="{left + WIDTH - 20}" y2="{y:.1f}"/>')
        parts.append(f'<text class="e" x="{x - 6:.1f}" y="{y + 4:.1f}">{10.0**power:g}</text>')
    for count in counts:
        x, y = at(count, 10.0**low)
        parts.append(f'<text class="m" x="{x:.1f}" y="{y + 18:.1f}">{count}</text>')
    parts.append(f'<text class="m" x="{left + (LEFT + WIDTH) / 2:.1f}" y="{HEIGHT - 22}">clients</text>')
    for number, line in enumerate(lines.values()):
        colour = COLOURS[number % len(COLOURS)]
        placed = [at(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
    return parts
