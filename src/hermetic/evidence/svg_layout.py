"""Where everything of the map stands: seven lanes, in each compute above stores, in each store its assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.evidence.svg_shapes import Box

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.evidence.chart import ComputeNode, Flow, Holding, PipelineMap, StageView, StoreNode

MARGIN, LANE, GAP, PAD = 36, 204, 42, 11
TOP, HEAD = 124, 44  # first pixel of the lanes, height of a lane's head
PILL, PILL_GAP = 42, 10
STORE_HEAD, ROW, STORE_PAD = 30, 40, 7
OUTSIDE = 30
FOOT = 96
CORRIDOR = 9  # distance of two tracks
MOST_ROWS, MOST_PILLS = 5, 5


@dataclass(frozen=True, slots=True)
class Pill:
    """Compute at its place; `node` None stands for `more` that did not fit."""

    box: Box
    node: ComputeNode | None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """An asset or file at its place; `holding` None stands for `more` that did not fit."""

    box: Box
    holding: Holding | None
    more: int = 0


@dataclass(frozen=True, slots=True)
class StoreBox:
    """A store at its place."""

    box: Box
    node: StoreNode
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Outside:
    """A declared source or target outside the domain."""

    box: Box
    flow: Flow
    inward: bool


@dataclass(frozen=True, slots=True)
class Lane:
    """One stage at its place."""

    index: int
    box: Box
    view: StageView
    outside: tuple[Outside, ...]
    pills: tuple[Pill, ...]
    stores: tuple[StoreBox, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture. `anchors` maps node ids to boxes and lane numbers; `top` and `low` are the corridors for long flows."""

    width: float
    height: float
    lanes: tuple[Lane, ...]
    anchors: Mapping[str, tuple[Box, int]]
    top: float
    low: float
    foot: float


def arrange(drawn: PipelineMap) -> Layout:
    """Give every part of the map its place."""
    far = sum(_long(flow, drawn) for flow in drawn.flows)
    top = TOP + HEAD + 12
    content = top + min(far, 6) * CORRIDOR + 4
    lanes = [_contents(index, view, drawn.flows, content) for index, view in enumerate(drawn.stages)]
    low = max((_bottom(lane) for lane in lanes), default=content) + 14
    low = max(low, content + 170)
    foot = low + 4 + _backward(drawn) * CORRIDOR
    end = foot + FOOT
    placed = tuple(_grown(lane, end) for lane in lanes)
    return Layout(
        width=2 * MARGIN + 7 * LANE + 6 * GAP,
        height=end + 86,
        lanes=placed,
        anchors=_anchors(placed),
        top=top,
        low=low,
        foot=foot,
    )


def _contents(index: int, view: StageView, flows: tuple[Flow, ...], y: float) -> Lane:
    x = MARGIN + index * (LANE + GAP)
    inner = Box(x + PAD, y, LANE - 2 * PAD, 0)
    outside = _outside(view, flows, inner)
    y = inner.y + len(outside) * (OUTSIDE + 6) + (8 if outside else 0)
    pills = _pills(view.compute, Box(inner.x, y, inner.w, 0))
    y += len(pills) * (PILL + PILL_GAP) + (12 if pills else 0)
    stores = _stores(view.stores, Box(inner.x, y, inner.w, 0))
    return Lane(index, Box(x, TOP, LANE, 0), view, outside, pills, stores)


def _outside(view: StageView, flows: tuple[Flow, ...], inner: Box) -> tuple[Outside, ...]:
    inward = [(flow, True) for flow in flows if flow.source_stage is None and flow.target_stage is view.stage]
    outward = [(flow, False) for flow in flows if flow.target_stage is None and flow.source_stage is view.stage]
    return tuple(
        Outside(Box(inner.x, inner.y + number * (OUTSIDE + 6), inner.w, OUTSIDE), flow, way)
        for number, (flow, way) in enumerate((*inward, *outward)[:3])
        if flow.source.startswith("outside:") or flow.target.startswith("outside:")
    )


def _pills(nodes: tuple[ComputeNode, ...], inner: Box) -> tuple[Pill, ...]:
    shown = nodes if len(nodes) <= MOST_PILLS else nodes[: MOST_PILLS - 1]
    entries = [*((node, 0) for node in shown), *([(None, len(nodes) - len(shown))] if len(shown) < len(nodes) else [])]
    return tuple(
        Pill(Box(inner.x, inner.y + number * (PILL + PILL_GAP), inner.w, PILL), node, more)
        for number, (node, more) in enumerate(entries)
    )


def _stores(nodes: tuple[StoreNode, ...], inner: Box) -> tuple[StoreBox, ...]:
    placed, y = [], inner.y
    for node in nodes:
        rows = _rows(node.holdings, Box(inner.x + STORE_PAD, y + STORE_HEAD, inner.w - 2 * STORE_PAD, 0))
        height = STORE_HEAD + len(rows) * ROW + (STORE_PAD if rows else 16)
        placed.append(StoreBox(Box(inner.x, y, inner.w, height), node, rows))
        y += height + 12
    return tuple(placed)


def _rows(holdings: tuple[Holding, ...], inner: Box) -> tuple[Row, ...]:
    """The most sensitive first; what does not fit is counted."""
    order = sorted(holdings, key=lambda item: (-(item.data_class.rank if item.data_class else 4), item.name))
    shown = order if len(order) <= MOST_ROWS else order[: MOST_ROWS - 1]
    boxes = [Box(inner.x, inner.y + number * ROW, inner.w, ROW - 5) for number in range(len(shown) + 1)]
    rows = [Row(box, holding) for box, holding in zip(boxes, shown, strict=False)]
    if len(shown) < len(order):
        rows.append(Row(boxes[-1], None, len(order) - len(shown)))
    return tuple(rows)


def _bottom(lane: Lane) -> float:
    boxes = [*(item.box for item in lane.stores), *(item.box for item in lane.pills), *(item.box for item in lane.outside)]
    return max((box.bottom for box in boxes), default=0)


def _grown(lane: Lane, end: float) -> Lane:
    box = Box(lane.box.x, lane.box.y, lane.box.w, end - lane.box.y)
    return Lane(lane.index, box, lane.view, lane.outside, lane.pills, lane.stores)


def _anchors(lanes: tuple[Lane, ...]) -> dict[str, tuple[Box, int]]:
    """Where a flow may start or end; assets that are not drawn lead to the line that counts them."""
    found: dict[str, tuple[Box, int]] = {}
    for lane in lanes:
        found[f"stage:{lane.view.stage}"] = (Box(lane.box.x, lane.box.y, lane.box.w, HEAD), lane.index)
        for pill in lane.pills:
            hidden = lane.view.compute[len(lane.pills) - 1 :] if pill.node is None else (pill.node,)
            found |= {node.id: (pill.box, lane.index) for node in hidden}
        for store in lane.stores:
            found[store.node.id] = (Box(store.box.x, store.box.y, store.box.w, STORE_HEAD), lane.index)
            found |= _row_anchors(store, lane.index)
    return found


def _row_anchors(store: StoreBox, lane: int) -> dict[str, tuple[Box, int]]:
    found = {item.id: (store.rows[-1].box, lane) for item in store.node.holdings} if store.rows else {}
    return found | {row.holding.id: (row.box, lane) for row in store.rows if row.holding is not None}


def _numbers(flow: Flow, drawn: PipelineMap) -> tuple[int, int] | None:
    order = [view.stage for view in drawn.stages]
    if flow.source_stage is None or flow.target_stage is None:
        return None
    return order.index(flow.source_stage), order.index(flow.target_stage)


def _long(flow: Flow, drawn: PipelineMap) -> bool:
    ends = _numbers(flow, drawn)
    return ends is not None and ends[1] - ends[0] > 1


def _backward(drawn: PipelineMap) -> int:
    """How many tracks the lower corridor needs, at most four."""
    ends = [_numbers(flow, drawn) for flow in drawn.flows]
    return min(4, sum(pair is not None and pair[1] < pair[0] for pair in ends))
