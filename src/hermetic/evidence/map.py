"""The pipeline map: seven stages, with stores, flows and compute, each declared, discovered or observed.

Observed but undeclared is a finding; declared but never seen is a gap; a stage of which nothing is known is a gap too. A project
that declares no pipeline at all gets one finding for that, not one for each of its parts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hermetic.evidence import questions
from hermetic.evidence.chart import ComputeNode, Flow, Origin, PipelineMap, StoreNode
from hermetic.evidence.declare import overlay
from hermetic.evidence.observe import Observed, observe
from hermetic.formats.findings import Finding
from hermetic.ids import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.evidence.surroundings import Surroundings
    from hermetic.formats.messages.domain import Facts
    from hermetic.policy.model import PolicyDocument


def draw(facts: Facts, around: Surroundings) -> PipelineMap:
    """Return the map of a domain from one consistent read of custody and what was found around it."""
    known = overlay(observe(facts, around), around.document)
    plain_swap = any(area.kind == "plain" for area in around.swap)
    return PipelineMap(
        at_ms=facts.at_ms,
        domain=facts.domain,
        project=around.document.project,
        enforcement=facts.enforcement,
        declared=bool(around.document.pipeline),
        scanned=None if around.plain_files is None else around.scanned,
        stages=tuple(questions.view(stage, known, enforcement=facts.enforcement, plain_swap=plain_swap) for stage in Stage),
        flows=known.flows,
        beside=known.beside,
        findings=tuple(_findings(known, around.document)),
    )


def _findings(known: Observed, document: PolicyDocument) -> Iterator[Finding]:
    for store in known.stores:
        if store.origins == (Origin.DISCOVERED,):
            yield _plaintext(store)
    if not document.pipeline:
        if known.stores or known.compute:
            yield Finding(
                "pipeline-not-declared",
                "low",
                "hermetic.yaml",
                "the project does not say what its pipeline is made of, so nothing can be unexpected",
                "add a `pipeline:` section; `hermetic map --suggest` prints one from what was observed",
            )
        return
    nodes: tuple[StoreNode | ComputeNode, ...] = (*known.stores, *known.compute)
    for node in nodes:
        if node.origins == (Origin.OBSERVED,):
            yield _undeclared(node)
    yield from _undeclared_flows(known.flows)


def _plaintext(store: StoreNode) -> Finding:
    number = len(store.holdings)
    return Finding(
        "plaintext-store",
        "medium",
        store.name,
        f"{number} unprotected file{'' if number == 1 else 's'} of stage {store.stage}",
        f"hermetic scan {store.name}, then seal or remove what it lists",
    )


def _undeclared(node: StoreNode | ComputeNode) -> Finding:
    what = "store" if isinstance(node, StoreNode) else "compute"
    section = "stores" if isinstance(node, StoreNode) else "compute"
    return Finding(
        f"undeclared-{what}",
        "medium",
        f"{node.stage}/{node.name}",
        f"{what} {node.name} is used in stage {node.stage} but not declared",
        f"add it to pipeline: {node.stage}: {section}: in hermetic.yaml, or stop using it",
    )


def _undeclared_flows(flows: tuple[Flow, ...]) -> Iterator[Finding]:
    """One finding for each pair of stages that data flows between undeclared."""
    pairs = Counter(
        (flow.source_stage, flow.target_stage)
        for flow in flows
        if flow.origins == (Origin.OBSERVED,) and flow.source_stage is not None and flow.target_stage is not None
    )
    for (source, target), number in pairs.items():
        where = f"{source} -> {target}"
        yield Finding(
            "undeclared-flow",
            "medium",
            where,
            f"{number} flow{'' if number == 1 else 's'} from {source} to {target} observed but not declared",
            f"add a flow from {source} to {target} to pipeline: {target}: flows: in hermetic.yaml",
        )
