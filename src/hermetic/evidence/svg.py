"""The pipeline map as one SVG file: no script, no reference to anything outside, readable in light and dark and by a screen reader.

Seven lanes, one for each stage; in each the code that runs there above the stores it uses; locks in the colour of an asset's
class, open red ones for plaintext; and at the foot the three questions. `render` is a pure function of the map.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hermetic.evidence import svg_cards, svg_routes, svg_style
from hermetic.evidence.svg_layout import HEAD, LANE, MARGIN, PAD, TOP, Lane, Layout, arrange
from hermetic.evidence.svg_shapes import Box, arrow_sign, chip_sign, clean, cylinder, fit, group, lock, rect, state, text

if TYPE_CHECKING:
    from hermetic.evidence.chart import Answer, PipelineMap, StageView

_DISCOVERED = ("discovered in plaintext", "line s-bad dot")
_ORIGINS = (
    ("observed and declared", "line s-edge"),
    ("observed, not declared", "line s-warn"),
    ("declared, never seen", "line s-none dash"),
    _DISCOVERED,
)
_ORIGINS_UNDECLARED = (("observed; no pipeline is declared", "line s-edge"), _DISCOVERED)
SENSITIVITY = ("public", "internal", "confidential", "restricted")


def render(drawn: PipelineMap, *, theme: svg_style.Theme = "auto") -> str:
    """Return the map as an SVG document. `theme` "auto" follows the reader's light or dark setting."""
    layout = arrange(drawn)
    parts = [
        rect(Box(0, 0, layout.width, layout.height), "f-page", radius=0),
        *_title(drawn, layout),
        *(_lane(lane, layout) for lane in layout.lanes),
        *(svg_cards.cards(lane, drawn) for lane in layout.lanes),
        *svg_routes.draw(drawn, layout),
        *_legend(layout, declared=drawn.declared),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width:g} {layout.height:g}" width="{layout.width:g}" '
        f'height="{layout.height:g}" role="img" aria-labelledby="map-title map-text">'
        f'<title id="map-title">{clean(f"Pipeline map of {drawn.project}")}</title>'
        f'<desc id="map-text">{clean(_description(drawn))}</desc>'
        f"<style>{svg_style.sheet(theme)}</style>{_defs()}{''.join(parts)}</svg>\n"
    )


def _defs() -> str:
    return (
        '<defs><pattern id="gap" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path d="M0 0V7" class="s-hatch" stroke-width="2.4"/></pattern></defs>'
    )


def _description(drawn: PipelineMap) -> str:
    lines = [
        f"{view.stage}: stored: {view.stored.text}; moving: {view.moving.text}; processed: {view.processed.text}."
        for view in drawn.stages
    ]
    return " ".join(lines)


def _title(drawn: PipelineMap, layout: Layout) -> list[str]:
    at = datetime.fromtimestamp(drawn.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = f"domain {drawn.domain[:8]}  ·  custody {drawn.enforcement}  ·  {at}"
    facts += "  ·  no scan" if drawn.scanned is None else f"  ·  scanned: {', '.join(drawn.scanned)}"
    return [
        text(MARGIN, 56, fit(drawn.project, 620, 24), "h1 f-ink"),
        text(MARGIN, 80, fit(facts, 800, 12), "chip f-soft"),
        *_chips(drawn, layout.width - MARGIN),
    ]


def _chips(drawn: PipelineMap, right: float) -> list[str]:
    """Counts in the upper right corner, from right to left."""
    holdings = [item for view in drawn.stages for store in view.stores for item in store.holdings]
    sealed, gaps = sum(item.sealed for item in holdings), sum(bool(view.gaps) for view in drawn.stages)
    plain = len(holdings) - sealed
    counts = [
        (f"{len(drawn.findings)} finding{'' if len(drawn.findings) == 1 else 's'}", "warn" if drawn.findings else "good"),
        (f"{gaps} stage{'' if gaps == 1 else 's'} with gaps", "none"),
        _plain_chip(plain, drawn),
        (f"{sealed} sealed", "good"),
    ]
    parts = []
    for label, colour in counts:
        width = 34 + 7.3 * len(label)
        right -= width
        parts += [
            rect(Box(right, 42, width, 28), "f-lane s-lane-line", radius=14),
            f'<circle cx="{right + 16:g}" cy="56" r="4.5" class="f-{colour}"/>',
            text(right + 27, 60, label, "chip f-ink"),
        ]
        right -= 8
    return parts


def _plain_chip(plain: int, drawn: PipelineMap) -> tuple[str, str]:
    """That nobody looked is not the same as that there is none."""
    if drawn.scanned is None and not plain:
        return "plaintext not looked for", "none"
    return f"{plain} in plaintext", "bad" if plain else "good"


def _lane(lane: Lane, layout: Layout) -> str:
    view, box = lane.view, lane.box
    empty = not view.stores and not view.compute
    worst = _worst(view)
    parts = [
        rect(box, "f-lane s-lane-line", radius=12),
        f'<path d="M{box.x + 12:g} {TOP:g}h{box.w - 24:g}" class="line s-{worst}" stroke-width="3"/>',
        f'<circle cx="{box.x + 22:g}" cy="{TOP + HEAD / 2:g}" r="10" class="f-card s-card-line"/>',
        text(box.x + 22, TOP + HEAD / 2 + 4, str(lane.index + 1), "num f-soft", anchor="middle"),
        text(box.x + 40, TOP + HEAD / 2 + 5, view.stage.value.capitalize(), "h2 f-ink"),
        *(_nothing(box, layout) if empty else []),
        *_answers(view, box, layout.foot),
    ]
    return group(parts, title=f"Stage {lane.index + 1}: {view.stage}")


def _nothing(box: Box, layout: Layout) -> list[str]:
    """Say in an empty lane that it is a gap."""
    middle = (layout.top + layout.low) / 2
    height = layout.low - layout.top
    return [
        f'<rect x="{box.x + 8:g}" y="{layout.top:g}" width="{box.w - 16:g}" height="{height:g}" rx="8" fill="url(#gap)"/>',
        rect(Box(box.x + 30, middle - 24, box.w - 60, 48), "f-lane s-card-line dash", radius=10),
        text(box.centre, middle - 3, "gap", "name f-soft", anchor="middle"),
        text(box.centre, middle + 12, "nothing known", "sub f-faint", anchor="middle"),
    ]


def _worst(view: StageView) -> str:
    states = {view.stored.state, view.moving.state, view.processed.state}
    for name, colour in (("open", "bad"), ("partial", "warn"), ("protected", "good")):
        if name in states:
            return colour
    return "none"


def _answers(view: StageView, box: Box, top: float) -> list[str]:
    """The three questions at the foot of a lane."""
    parts = [f'<path d="M{box.x + PAD:g} {top:g}h{box.w - 2 * PAD:g}" class="line s-lane-line" stroke-width="1"/>']
    rows: list[tuple[str, Answer]] = [("STORED", view.stored), ("MOVING", view.moving), ("PROCESSED", view.processed)]
    for number, (label, answer) in enumerate(rows):
        y = top + 18 + number * 28
        sign = (cylinder, arrow_sign, chip_sign)[number](box.x + PAD + 1, y - 6, "faint")
        said = group(
            [
                sign,
                text(box.x + PAD + 20, y - 1, label, "cap f-faint"),
                text(box.x + PAD + 20, y + 11.5, fit(answer.text, LANE - 2 * PAD - 44, 10.5), "sub f-ink"),
                state(box.right - PAD - 7, y + 3, answer.state),
            ],
            title=f"{label.lower()}: {answer.state}, {answer.text}",
        )
        parts.append(said)
    return parts


def _legend(layout: Layout, *, declared: bool) -> list[str]:
    y = layout.height - 44
    x: float = MARGIN
    parts = []
    for name in SENSITIVITY:
        parts += [lock(x, y - 11, name, closed=True), text(x + 18, y + 1, name, "chip f-soft")]
        x += 38 + 7.4 * len(name)
    parts += [lock(x, y - 11, "bad", closed=False), text(x + 22, y + 1, "plaintext", "chip f-soft")]
    x += 122
    for label, look in _ORIGINS if declared else _ORIGINS_UNDECLARED:
        parts += [f'<path d="M{x:g} {y - 3:g}h30" class="{look}" stroke-width="2"/>', text(x + 38, y + 1, label, "chip f-soft")]
        x += 66 + 6.9 * len(label)
    x = MARGIN
    for word, label in (("protected", "protected"), ("partial", "partly"), ("open", "open"), ("unknown", "not known")):
        parts += [state(x + 6, y + 22, word), text(x + 18, y + 26, label, "chip f-soft")]
        x += 38 + 7.4 * len(label)
    return parts
