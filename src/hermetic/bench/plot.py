"""The figures as one SVG file: a bar for each metric, as long as its ratio to plain, with the plain side as a line at 1.

No script, no reference to anything outside. The thin line over a bar's end goes from the lower to the upper quartile of the sealed
side; what is longer than CAP is cut, and says so in the bar. A pure function of the report.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from hermetic.bench.shape import MIB
from hermetic.evidence.svg_shapes import Box, fit, group, rect, text
from hermetic.evidence.svg_style import sheet

if TYPE_CHECKING:
    from hermetic.bench.report import Figure, Report
    from hermetic.evidence.svg_style import Theme

WIDTH, MARGIN, LABELS, NUMBERS = 960.0, 28.0, 190.0, 250.0
ROW, GAP, TOP, FOOT = 22.0, 16.0, 92.0, 44.0
CAP = 4.0
LEGEND = f"line: quartiles; > is cut at {CAP:g}"
MEANINGS = {
    "seal": "seal, durable, beside copy and sync",
    "expose": "expose to files, verified, beside copy",
    "load": "load into memory, verified, beside read",
    "lazy": "one range, opened for it, beside the same from a plain file",
    "tensors": "all tensors into torch, every page touched, beside load_file",
    "tensor": "one tensor, opened for it, beside safe_open",
    "epoch": "one training epoch, beside the same over plain files",
    "release": "release of one key on record, beside one synced commit",
}


def render(report: Report, *, theme: Theme = "auto") -> str:
    """Return the picture as SVG text."""
    groups = [(work, list(figures)) for work, figures in groupby(report.figures, key=lambda figure: figure.work)]
    longest = min(CAP, max([1.25, *(figure.ratio for figure in report.figures)]))
    unit = (WIDTH - 2 * MARGIN - LABELS - NUMBERS) / longest
    parts, y = [], TOP
    for work, figures in groups:
        parts.append(text(MARGIN, y + 12, MEANINGS.get(work, work), "h2 f-ink"))
        y += 22
        rows = [_row(figure, y + number * ROW, unit) for number, figure in enumerate(figures)]
        y += ROW * len(rows)
        parts += [*rows, _line_at_one(unit, y - ROW * len(rows), y)]
        y += GAP
    height = y + FOOT
    return "\n".join(
        [
            *_head(report, height, theme),
            text(MARGIN + LABELS + unit, TOP - 12, "plain", "cap f-soft", anchor="middle"),
            *parts,
            _foot(report, height),
            "</svg>",
            "",
        ]
    )


def _head(report: Report, height: float, theme: Theme) -> list[str]:
    title = f"hermetic bench: {report.label}"
    files = f"{len(report.sizes)} file{'s' if len(report.sizes) > 1 else ''}"
    size = f"{sum(report.sizes) / MIB:,.1f} MiB in {files}, {report.rounds} rounds, medians"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img">',
        f"<style>{sheet(theme)}</style>",
        rect(Box(0, 0, WIDTH, height), "f-page", radius=0),
        text(MARGIN, 42, fit(title, WIDTH - 2 * MARGIN, 24), "h1 f-ink"),
        text(
            MARGIN,
            64,
            fit(f"{size}; time as a multiple of the plain side, shorter is better", WIDTH - 2 * MARGIN, 11.5),
            "chip f-soft",
        ),
        text(MARGIN, TOP - 12, LEGEND, "cap f-soft"),
    ]


def _line_at_one(unit: float, top: float, bottom: float) -> str:
    """Draw where the plain side is, beside the bars of one work."""
    return f'<path d="M{MARGIN + LABELS + unit:g} {top:g}V{bottom:g}" class="line s-edge dash"/>'


def _row(figure: Figure, y: float, unit: float) -> str:
    left = MARGIN + LABELS
    colour = "good" if figure.ratio <= 1.1 else "internal" if figure.ratio <= 2 else "warn"
    ends = [min(CAP, value / figure.plain.median) * unit for value in (figure.sealed.low, figure.sealed.median, figure.sealed.high)]
    threads = "" if figure.work == "release" else figure.suite + _threads(figure.threads)
    said = f"{figure.ratio:.2f} ({_seconds(figure.sealed.median)}, plain {_seconds(figure.plain.median)})"
    doubt = ", noisy" if figure.noisy else ""
    return group(
        [
            text(MARGIN + 10, y + 13, fit(threads or "one key", LABELS - 16, 11.5), "chip f-soft"),
            rect(Box(left, y + 3, max(1.0, ends[1]), ROW - 8), f"f-{colour}", radius=3),
            *([text(left + ends[1] - 8, y + 13, f"{figure.ratio:.1f} >", "chip f-ink", anchor="end")] if figure.ratio > CAP else ()),
            f'<path d="M{left + ends[0]:g} {y + ROW / 2 - 1:g}H{left + ends[2]:g}" class="line s-ink" stroke-width="1.2"/>',
            text(WIDTH - MARGIN - NUMBERS + 16, y + 13, said + doubt, "chip f-ink"),
        ],
        title=f"{figure.metric}: {said}{doubt}",
    )


def _foot(report: Report, height: float) -> str:
    machine = report.machine
    said = (
        f"{machine.processor}, {machine.processors} processors, {machine.file_system or 'unknown file system'},"
        f" Python {machine.python}, hermetic {machine.hermetic}; epochs through {report.loader}"
    )
    return text(MARGIN, height - 20, fit(said, WIDTH - 2 * MARGIN, 10.5), "sub f-faint")


def _threads(count: int) -> str:
    return "" if not count else f", {count} thread{'s' if count > 1 else ''}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
