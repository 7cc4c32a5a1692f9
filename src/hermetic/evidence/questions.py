"""Three questions for each stage: where is its data stored, how does it move, where is it processed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.evidence.chart import Answer, ComputeNode, Flow, Origin, StageView, StoreNode
from hermetic.ids import Enforcement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermetic.evidence.observe import Observed
    from hermetic.ids import Stage


def view(stage: Stage, known: Observed, *, enforcement: str, plain_swap: bool) -> StageView:
    """Answer the questions of one stage from everything known about it."""
    stores = tuple(node for node in known.stores if node.stage is stage)
    compute = tuple(node for node in known.compute if node.stage is stage)
    moving = [flow for flow in known.flows if stage in {flow.source_stage, flow.target_stage}]
    return StageView(
        stage=stage,
        stored=_stored(stores),
        moving=_moving(moving, stage),
        processed=_processed(compute, enforcement, plain_swap=plain_swap),
        stores=stores,
        compute=compute,
        gaps=tuple(_gaps(stores, compute, moving)),
    )


def _stored(stores: Sequence[StoreNode]) -> Answer:
    holdings = [holding for node in stores for holding in node.holdings]
    sealed = sum(holding.sealed for holding in holdings)
    plain = len(holdings) - sealed
    exposed = sum(holding.exposed for holding in holdings)
    said = [f"{sealed} sealed"] * bool(sealed) + [f"{plain} plain"] * bool(plain) + [f"{exposed} exposed"] * bool(exposed)
    if not holdings:
        return Answer("unknown", "declared, nothing seen" if stores else "nothing known")
    if plain:
        return Answer("open", ", ".join(said))
    return Answer("partial" if exposed else "protected", ", ".join(said))


def _moving(flows: Sequence[Flow], stage: Stage) -> Answer:
    seen = [flow for flow in flows if Origin.OBSERVED in flow.origins]
    if not seen:
        return Answer("unknown", "declared, nothing seen" if flows else "nothing known")
    if not all(flow.sealed for flow in seen):
        return Answer("open", "some flows carry plaintext")
    inside = sum(flow.source_stage is flow.target_stage for flow in seen)
    ways_in = sum(flow.target_stage is stage for flow in seen) - inside
    ways_out = sum(flow.source_stage is stage for flow in seen) - inside
    counts = ", ".join(f"{number} {way}" for number, way in ((ways_in, "in"), (ways_out, "out")) if number) or "inside only"
    undeclared = any(Origin.DECLARED not in flow.origins for flow in seen)
    return Answer("partial", f"{counts}, not declared") if undeclared else Answer("protected", f"sealed, {counts}")


def _processed(compute: Sequence[ComputeNode], enforcement: str, *, plain_swap: bool) -> Answer:
    runs = sum(node.runs for node in compute)
    if not runs:
        return Answer("unknown", "declared, never run" if compute else "no run seen")
    counted = f"{runs} run{'' if runs == 1 else 's'}"
    if plain_swap:
        return Answer("partial", f"{counted}, plain swap")
    cooperative = Enforcement(enforcement) is Enforcement.COOPERATIVE
    return Answer("partial" if cooperative else "protected", f"{counted}, {enforcement}")


def _gaps(stores: Sequence[StoreNode], compute: Sequence[ComputeNode], flows: Sequence[Flow]) -> Iterator[str]:
    if not stores and not compute and not flows:
        yield "nothing declared, discovered or observed"
        return
    nodes: tuple[StoreNode | ComputeNode, ...] = (*stores, *compute)
    for node in nodes:
        if node.origins == (Origin.DECLARED,):
            yield f"{node.name}: declared, never seen"
        if node.origins == (Origin.DISCOVERED,):
            yield f"{node.name}: plaintext"
