"""The cards in a lane: places outside, compute, stores with what lies in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.evidence.chart import ComputeNode, Holding, Origin, PipelineMap, StoreNode
from hermetic.evidence.svg_shapes import Box, chip_sign, cylinder, fit, group, lock, rect, text
from hermetic.ids import Environment

if TYPE_CHECKING:
    from hermetic.evidence.svg_layout import Lane, Outside, Pill, Row, StoreBox

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def cards(lane: Lane, drawn: PipelineMap) -> str:
    """Return all cards of one lane."""
    parts = [
        *(_outside(item) for item in lane.outside),
        *(_pill(item, declared=drawn.declared) for item in lane.pills),
        *(_store(item, declared=drawn.declared) for item in lane.stores),
    ]
    return "".join(parts)


def _outside(item: Outside) -> str:
    name = (item.flow.source if item.inward else item.flow.target).partition(":")[2]
    way = "from" if item.inward else "to"
    label = f"{way} {name}"
    return group(
        [
            rect(item.box, "f-card s-none dash", radius=6),
            text(item.box.x + 10, item.box.y + 13, fit(label, item.box.w - 20, 10.5), "sub f-ink"),
            text(item.box.x + 10, item.box.y + 25, fit(item.flow.over, item.box.w - 20, 9.5), "sub f-faint"),
        ],
        title=f"outside: {label} over {item.flow.over} (declared)",
    )


def _pill(item: Pill, *, declared: bool) -> str:
    box, node = item.box, item.node
    if node is None:
        return text(box.x + 16, box.middle + 4, f"and {item.more} more", "sub f-soft")
    unseen = node.origins == (Origin.DECLARED,)
    ink, soft = ("f-soft", "f-faint") if unseen else ("f-compute-ink", "f-compute-soft")
    surface = "f-lane s-none dash" if unseen else "f-compute"
    sign = chip_sign(box.x + 13, box.middle - 6, "none" if unseen else "compute-soft")
    return group(
        [
            rect(box, surface, radius=21),
            sign,
            text(box.x + 33, box.y + 18, fit(node.name, box.w - 52, 12), f"name {ink}"),
            text(box.x + 33, box.y + 32, fit(_work(node), box.w - 48, 10.5), f"sub {soft}"),
            *_flag(box, node, declared=declared),
        ],
        title=f"compute {node.name}: {_work(node)} ({', '.join(node.origins)})",
    )


def _work(node: ComputeNode) -> str:
    if not node.runs:
        return "declared, never seen"
    runs = f"{node.purpose} · {node.runs} run{'' if node.runs == 1 else 's'}"
    return f"{node.runs} runs, {node.failed} failed" if node.failed else runs


def _store(item: StoreBox, *, declared: bool) -> str:
    node, box = item.node, item.box
    surface, colour = _surface(node)
    parts = [
        rect(box, surface, radius=10),
        cylinder(box.x + 10, box.y + 9, colour),
        text(
            box.x + 27,
            box.y + 19,
            fit("this folder" if node.name == "." else node.name, box.w - 44, 11.5),
            f"chip f-{'bad' if colour == 'bad' else 'soft'}",
        ),
        *([text(box.x + 27, box.y + 33, "declared, never seen", "sub f-faint")] if not node.holdings else []),
        *_flag(box, node, declared=declared),
    ]
    return group(parts, title=f"store {node.name}, {node.place} ({', '.join(node.origins)})") + "".join(_row(row) for row in item.rows)


def _surface(node: StoreNode) -> tuple[str, str]:
    if Origin.OBSERVED in node.origins:
        return "f-card s-card-line", "soft"
    if Origin.DISCOVERED in node.origins:
        return "f-bad-wash s-bad dot", "bad"
    return "f-lane s-none dash", "none"


def _row(row: Row) -> str:
    box, holding = row.box, row.holding
    if holding is None:
        return text(box.x + 26, box.middle + 4, f"and {row.more} more", "sub f-soft")
    colour = _colour(holding)
    kind, _, path = holding.name.partition("/") if holding.sealed else (holding.kind, "", holding.name)
    room = box.w - 34 - (18 if holding.exposed else 0)
    parts = [
        rect(box, "f-lane s-lane-line", radius=6),
        f'<path d="M{box.x:g} {box.y + 6:g}v{box.h - 12:g}" class="line s-{colour}" stroke-width="3"/>',
        lock(box.x + 9, box.middle - 8, colour, closed=holding.sealed),
        text(box.x + 29, box.y + 15, fit(path, room, 12), "name f-ink"),
        text(box.x + 29, box.y + 28, _fitting(_details(holding, kind), room), "sub f-soft"),
    ]
    if holding.exposed:
        parts.append(lock(box.right - 22, box.middle - 8, "bad", closed=False))
    return group(parts, title=_holding_title(holding))


def _colour(holding: Holding) -> str:
    return holding.data_class.value if holding.sealed and holding.data_class is not None else "bad"


def _details(holding: Holding, kind: str) -> list[str]:
    """What is said below a name, the most important first."""
    if not holding.sealed:
        return [kind, _size(holding.length)]
    where = [] if holding.environment in {None, Environment.DEVELOPMENT} else [str(holding.environment)]
    return [f"{kind} @{holding.latest}", *where, _size(holding.length)]


def _fitting(parts: list[str], room: float) -> str:
    """Join as many parts as there is room for; the first is cut if it must be."""
    while len(parts) > 1 and fit(" · ".join(parts), room, 10.5) != " · ".join(parts):
        parts = parts[:-1]
    return fit(" · ".join(parts), room, 10.5)


def _holding_title(holding: Holding) -> str:
    if not holding.sealed:
        return f"{holding.name}: unprotected {holding.kind} file"
    exposed = f", {holding.exposed} exposed now" if holding.exposed else ""
    return f"{holding.name}@{holding.latest}: sealed, {holding.data_class}, {holding.environment}{exposed}"


def _flag(box: Box, node: StoreNode | ComputeNode, *, declared: bool) -> list[str]:
    """Mark what is in use but not declared, where the project declares its pipeline."""
    if not declared or node.origins != (Origin.OBSERVED,):
        return []
    x, y = box.right - 13, box.y + 1
    mark = text(x, y + 4, "?", "num f-lane", anchor="middle")
    return [group([f'<circle cx="{x:g}" cy="{y:g}" r="7.5" class="f-warn"/>', mark], title="in use, but not declared")]


def _size(count: int) -> str:
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.1f} {unit}" if unit != "B" and amount < 10 else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{count} B"
