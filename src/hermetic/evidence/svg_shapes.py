"""Shapes of the map as SVG text: everything that comes from outside is escaped here, and cut to the room it has."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NARROW, _WIDE = set("ijl.,:;'|![]()I "), set("mwMW@%")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; x and y are its upper left corner, all in SVG units."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        """X of the right side."""
        return self.x + self.w

    @property
    def bottom(self) -> float:
        """Y of the lower side."""
        return self.y + self.h

    @property
    def middle(self) -> float:
        """Y of the middle."""
        return self.y + self.h / 2

    @property
    def centre(self) -> float:
        """X of the middle."""
        return self.x + self.w / 2


def clean(text: str) -> str:
    """Return `text` without what XML cannot hold and what would change the direction of the text around it, escaped."""
    return escape("".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Cn", "Co"}))


def fit(text: str, room: float, size: float) -> str:
    """Return `text`, cut with an ellipsis if it would be wider than `room` at font size `size` (measured generously)."""
    if _wide(text) * size <= room:
        return text
    while text and _wide(text + "…") * size > room:
        text = text[:-1]
    return text.rstrip("./-_ ") + "…"


def text(x: float, y: float, content: str, classes: str, *, anchor: str = "start") -> str:
    """Return one line of text at a base line."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}" class="{classes}"{where}>{clean(content)}</text>'


def rect(box: Box, classes: str, *, radius: float = 8) -> str:
    """Return a rounded rectangle."""
    return f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.w:g}" height="{box.h:g}" rx="{radius:g}" class="{classes}"/>'


def group(parts: Iterable[str], *, title: str, classes: str = "") -> str:
    """Return parts as one group that a reader of the picture is told `title` about."""
    of = f' class="{classes}"' if classes else ""
    return f'<g{of} role="img"><title>{clean(title)}</title>{"".join(parts)}</g>'


def lock(x: float, y: float, colour: str, *, closed: bool) -> str:
    """Return a padlock of 12 by 15 units; open ones have their shackle swung aside."""
    shackle = "M2.5 7V4.5a3.5 3.5 0 0 1 7 0V7" if closed else "M9.5 7V4.5a3.5 3.5 0 0 1 6.6-1.6"
    return (
        f'<g transform="translate({x:g} {y:g})"><path d="{shackle}" class="line s-{colour}" stroke-width="1.7"/>'
        f'<rect x="0.6" y="6.6" width="10.8" height="8.2" rx="2" class="f-{colour}"/>'
        f'<circle cx="6" cy="10.2" r="1.3" class="f-lane"/><rect x="5.4" y="10.4" width="1.2" height="2.3" class="f-lane"/></g>'
    )


def cylinder(x: float, y: float, colour: str) -> str:
    """Return the sign of a store, 11 by 12 units."""
    return (
        f'<g transform="translate({x:g} {y:g})" class="line s-{colour}" stroke-width="1.3">'
        '<ellipse cx="5.5" cy="2.4" rx="5" ry="1.9"/>'
        '<path d="M.5 2.4v7c0 1 2.2 1.9 5 1.9s5-.9 5-1.9v-7M.5 5.9c0 1 2.2 1.9 5 1.9s5-.9 5-1.9"/></g>'
    )


def arrow_sign(x: float, y: float, colour: str) -> str:
    """Return the sign of movement, 12 by 10 units."""
    return f'<path d="M{x:g} {y + 5:g}h10m-3.6 -3.8l3.8 3.8l-3.8 3.8" class="line s-{colour}" stroke-width="1.4"/>'


def chip_sign(x: float, y: float, colour: str) -> str:
    """Return the sign of processing, 12 by 12 units."""
    pins = "M4 2.2V.2M8 2.2V.2M4 11.8v-2M8 11.8v-2M2.2 4H.2M2.2 8H.2M11.8 4h-2M11.8 8h-2"
    return (
        f'<g transform="translate({x:g} {y:g})" class="line s-{colour}" stroke-width="1.2">'
        f'<rect x="2.2" y="2.2" width="7.6" height="7.6" rx="1.4"/><path d="{pins}"/></g>'
    )


def state(x: float, y: float, answer: str) -> str:
    """Return the sign of an answer's state around (x, y): a tick, a half disc, a cross in a ring, an empty dashed ring."""
    colour = {"protected": "good", "partial": "warn", "open": "bad"}.get(answer, "none")
    if answer == "protected":
        tick = f'<path d="M{x - 2.6:g} {y + 0.2:g}l1.9 2l3.3 -4" class="line s-lane" stroke-width="1.5"/>'
        return f'<circle cx="{x:g}" cy="{y:g}" r="5.2" class="f-{colour}"/>{tick}'
    if answer == "partial":
        half = f'<path d="M{x:g} {y - 3.6:g}a3.6 3.6 0 0 1 0 7.2z" class="f-{colour}"/>'
        return f'<circle cx="{x:g}" cy="{y:g}" r="4.7" class="line s-{colour}"/>{half}'
    if answer == "open":
        cross = f'<path d="M{x - 1.8:g} {y - 1.8:g}l3.6 3.6m0 -3.6l-3.6 3.6" class="line s-{colour}"/>'
        return f'<circle cx="{x:g}" cy="{y:g}" r="4.7" class="line s-{colour}"/>{cross}'
    return f'<circle cx="{x:g}" cy="{y:g}" r="4.7" class="line s-{colour}" stroke-dasharray="2 2"/>'


def _wide(text: str) -> float:
    """Width in units of the font size; close to DejaVu Sans, wider than most."""
    return sum(_advance(char) for char in text)


def _advance(char: str) -> float:
    if char in _NARROW:
        return 0.36
    if char in _WIDE:
        return 0.97
    if unicodedata.east_asian_width(char) in "WF":
        return 1.05
    return 0.7 if char.isupper() else 0.6
