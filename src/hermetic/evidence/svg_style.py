"""Colours and type of the map. Light is the default, dark follows the reader's setting; `theme` fixes one of them.

No colour stands alone: class is also written out in the legend and in each title, states differ in shape, origins in line style.
"""

from __future__ import annotations

from typing import Literal

Theme = Literal["auto", "light", "dark"]

FONT = "Inter, ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"

_LIGHT = {
    "page": "#f6f7f9",
    "lane": "#ffffff",
    "lane-line": "#e3e7ed",
    "card": "#f8fafc",
    "card-line": "#cfd6df",
    "ink": "#16202c",
    "soft": "#5b6776",
    "faint": "#8f9aa8",
    "edge": "#7b8a9c",
    "compute": "#1f2f46",
    "compute-ink": "#ffffff",
    "compute-soft": "#b9c6d8",
    "public": "#0e8a7d",
    "internal": "#2b66d9",
    "confidential": "#7a3fe0",
    "restricted": "#c4175f",
    "good": "#16803c",
    "warn": "#b76a00",
    "bad": "#d12a2a",
    "none": "#98a3b0",
    "bad-wash": "#fdecec",
    "warn-wash": "#fdf3e1",
    "hatch": "#dfe4ea",
}
_DARK = {
    "page": "#0e131a",
    "lane": "#161d27",
    "lane-line": "#263140",
    "card": "#1c2531",
    "card-line": "#364456",
    "ink": "#e8edf4",
    "soft": "#a3b0c0",
    "faint": "#74828f",
    "edge": "#8496aa",
    "compute": "#d9e3f0",
    "compute-ink": "#111a26",
    "compute-soft": "#4b5a6d",
    "public": "#3fc9b8",
    "internal": "#7aa5ff",
    "confidential": "#b493ff",
    "restricted": "#ff78ad",
    "good": "#4cc474",
    "warn": "#f0b04a",
    "bad": "#ff7b72",
    "none": "#6d7a89",
    "bad-wash": "#3a1d22",
    "warn-wash": "#33270f",
    "hatch": "#263140",
}


def sheet(theme: Theme) -> str:
    """Return the style sheet for a theme."""
    if theme == "light":
        return _rules(_LIGHT) + _TYPE
    if theme == "dark":
        return _rules(_DARK) + _TYPE
    return _rules(_LIGHT) + _TYPE + "@media (prefers-color-scheme: dark){" + _rules(_DARK) + "}"


def _rules(colour: dict[str, str]) -> str:
    """One fill class `f-x` and one stroke class `s-x` for each colour."""
    fills = "".join(f".f-{name}{{fill:{value}}}" for name, value in colour.items())
    strokes = "".join(f".s-{name}{{stroke:{value}}}" for name, value in colour.items())
    return fills + strokes


_TYPE = (
    f"text{{font-family:{FONT}}}"
    ".h1{font-size:24px;font-weight:700;letter-spacing:-.3px}"
    ".h2{font-size:13.5px;font-weight:650}"
    ".num{font-size:11px;font-weight:700}"
    ".name{font-size:12px;font-weight:600}"
    ".sub{font-size:10.5px}"
    ".cap{font-size:9.5px;font-weight:650;letter-spacing:.7px}"
    ".chip{font-size:11.5px;font-weight:600}"
    ".line{fill:none;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}"
    ".dash{stroke-dasharray:5 4}.dot{stroke-dasharray:1.5 3.5}"
)
