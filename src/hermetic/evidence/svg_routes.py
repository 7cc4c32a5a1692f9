"""How flows are drawn: right angles with round corners, in tracks that stand between the lanes.

To the next lane a flow goes through the gap between them; further on it uses the corridor under the lanes' heads; back to an
earlier stage the one above their feet; inside a lane the rail beside its cards. So no flow ever crosses a card. Flows that leave
one node share a track, so that they read as one line that branches.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hermetic.evidence.chart import Flow, Origin, PipelineMap
from hermetic.evidence.svg_layout import CORRIDOR, GAP, HEAD, LANE, MARGIN, PAD, TOP, Layout
from hermetic.evidence.svg_shapes import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.evidence.svg_shapes import Box

RADIUS, HEAD_LENGTH = 6.0, 6.5
Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = "tuple[Box, int]"


@dataclass(frozen=True, slots=True)
class Edge:
    """One line: the ends, and what it stands for (the strongest evidence of the flows it joins)."""

    source: Anchor
    target: Anchor
    flow: Flow


class Tracks:
    """Gives each owner in one place a track of its own, in order of asking."""

    def __init__(self) -> None:
        self._of: defaultdict[object, dict[object, int]] = defaultdict(dict)

    def take(self, place: object, owner: object) -> int:
        """Return the number of the owner's track at this place."""
        return self._of[place].setdefault(owner, len(self._of[place]))


def draw(drawn: PipelineMap, layout: Layout) -> list[str]:
    """Return the flows of a map as SVG, those never seen first, so that they lie below."""
    edges = sorted(_edges(drawn.flows, layout), key=lambda edge: Origin.OBSERVED in edge.flow.origins)
    tracks = Tracks()
    return [_draw(edge, _path(edge, layout, tracks), drawn) for edge in edges]


def _edges(flows: Iterable[Flow], layout: Layout) -> list[Edge]:
    """Join flows whose ends are drawn as the same two boxes."""
    joined: dict[tuple[Box, Box], Edge] = {}
    for flow in flows:
        source, target = layout.anchors.get(flow.source), layout.anchors.get(flow.target)
        if source is None or target is None or source[0] == target[0]:
            continue
        known = joined.get((source[0], target[0]))
        if known is None or Origin.OBSERVED not in known.flow.origins:
            joined[source[0], target[0]] = Edge(source, target, flow)
    return list(joined.values())


def _path(edge: Edge, layout: Layout, tracks: Tracks) -> list[Point]:
    (source, start), (target, end) = edge.source, edge.target
    if start == end:
        return _inside(source, target, start)
    head = target.y == TOP and target.h == HEAD
    last: Point = (target.x - (0 if head else 1), target.middle)
    first: Point = (source.right, source.middle)
    leave = _channel(start + 1, tracks.take(("gap", start + 1), ("out", source)))
    if end == start + 1:
        return [first, (leave, first[1]), (leave, last[1]), last]
    arrive = _channel(end, tracks.take(("gap", end), ("in", target)))
    if end > start:
        level = layout.top + CORRIDOR * (tracks.take("top", source) % 6)
    else:
        level = layout.low + CORRIDOR * (tracks.take("low", source) % 4)
    return [first, (leave, first[1]), (leave, level), (arrive, level), (arrive, last[1]), last]


def _channel(lane: int, track: int) -> float:
    """X of a track in the gap before `lane`; tracks fill the gap from the middle outwards."""
    middle = MARGIN + lane * (LANE + GAP) - GAP / 2
    step = (track + 1) // 2 * (1 if track % 2 else -1)
    return middle + 5 * max(-3, min(3, step))


def _inside(source: Box, target: Box, lane: int) -> list[Point]:
    """Down along the left rail, up along the right one."""
    left = MARGIN + lane * (LANE + GAP)
    if target.y > source.y:
        rail = left + PAD / 2
        return [(source.x, source.middle), (rail, source.middle), (rail, target.middle), (target.x - 1, target.middle)]
    rail = left + LANE - PAD / 2
    return [(source.right, source.middle), (rail, source.middle), (rail, target.middle), (target.right + 1, target.middle)]


def _draw(edge: Edge, points: list[Point], drawn: PipelineMap) -> str:
    colour, line = _look(edge.flow, drawn)
    (before, _), (tip, y) = points[-2], points[-1]
    back = -HEAD_LENGTH if tip >= before else HEAD_LENGTH
    shaft = [*points[:-1], (tip + back * 0.6, y)]
    head = f"M{tip:g} {y:g}l{back:g} -3.6v7.2z"
    ends = f"{edge.flow.source.partition(':')[2]} to {edge.flow.target.partition(':')[2]}: {edge.flow.over}"
    known = ", ".join(edge.flow.origins)
    return (
        f'<g><title>{clean(f"{ends} ({known})")}</title><path d="{_rounded(shaft)}" class="line s-{colour}{line}"/>'
        f'<path d="{head}" class="f-{colour}"/></g>'
    )


def _look(flow: Flow, drawn: PipelineMap) -> tuple[str, str]:
    if flow.sealed is None:
        return "none", " dash"
    if not flow.sealed:
        return "bad", ""
    unexpected = drawn.declared and Origin.DECLARED not in flow.origins
    return ("warn" if unexpected else "edge"), ""


def _rounded(points: Sequence[Point]) -> str:
    """Return a path through `points` with round corners; points on a straight line are left out."""
    kept = [point for number, point in enumerate(points) if not number or point != points[number - 1]]
    path = [f"M{kept[0][0]:g} {kept[0][1]:g}"]
    for before, corner, after in zip(kept, kept[1:], kept[2:], strict=False):
        radius = min(RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        enter, leave = _towards(corner, before, radius), _towards(corner, after, radius)
        path.append(f"L{enter[0]:g} {enter[1]:g}Q{corner[0]:g} {corner[1]:g} {leave[0]:g} {leave[1]:g}")
    path.append(f"L{kept[-1][0]:g} {kept[-1][1]:g}")
    return "".join(path)


def _distance(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(start: Point, goal: Point, by: float) -> Point:
    whole = _distance(start, goal)
    if not whole:
        return start
    return (start[0] + (goal[0] - start[0]) * by / whole, start[1] + (goal[1] - start[1]) * by / whole)
