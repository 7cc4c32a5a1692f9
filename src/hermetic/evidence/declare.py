"""What hermetic.yaml declares of the pipeline, laid over what was observed.

A declared flow names its ends: a stage, or a store or compute of a stage; any other word is a place outside the domain. An observed
flow counts as declared when one declared flow leads from its stage, or something in it, to the stage it ends in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from hermetic.evidence.chart import ComputeNode, Flow, Origin, StoreNode
from hermetic.evidence.observe import Observed, compute_id, describe, store_id
from hermetic.ids import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.policy.model import Flow as FlowRule
    from hermetic.policy.model import PolicyDocument, StageRules

_Node = TypeVar("_Node", StoreNode, ComputeNode, Flow)


@dataclass(frozen=True, slots=True)
class End:
    """What the name of a flow's end means: the node it is drawn at, and its stage, None for a place outside."""

    node: str
    stage: Stage | None


def overlay(observed: Observed, document: PolicyDocument) -> Observed:
    """Mark what is declared, and add what is declared but was never seen."""
    pipeline = document.pipeline
    return replace(
        observed,
        stores=_stores(observed.stores, document),
        compute=_compute(observed.compute, pipeline),
        flows=_flows(observed.flows, pipeline),
    )


def _stores(seen: tuple[StoreNode, ...], document: PolicyDocument) -> tuple[StoreNode, ...]:
    declared = {(stage, name) for stage, rules in document.pipeline.items() for name in rules.stores}
    marked = [_marked(node) if (node.stage, node.name) in declared else node for node in seen]
    missing = declared - {(node.stage, node.name) for node in seen}
    added = [
        StoreNode(store_id(stage, name), name, describe(document, name), stage, (Origin.DECLARED,), ())
        for stage, name in sorted(missing)
    ]
    return (*marked, *added)


def _compute(seen: tuple[ComputeNode, ...], pipeline: Mapping[Stage, StageRules]) -> tuple[ComputeNode, ...]:
    marked, met = [], set()
    for node in seen:
        rules = pipeline.get(node.stage)
        names = [name for name in (rules.compute if rules else ()) if node.name == name]
        met |= {(node.stage, name) for name in names}
        marked.append(_marked(node) if names else node)
    added = [
        ComputeNode(compute_id(stage, name), name, stage, (Origin.DECLARED,), None, 0, 0, None)
        for stage, rules in pipeline.items()
        for name in rules.compute
        if (stage, name) not in met
    ]
    return (*marked, *added)


def _flows(seen: tuple[Flow, ...], pipeline: Mapping[Stage, StageRules]) -> tuple[Flow, ...]:
    """Mark observed flows that a rule covers; add rules that cover none."""
    rules = [(stage, rule) for stage, stage_rules in pipeline.items() for rule in stage_rules.flows]
    marked, met = [], set()
    for flow in seen:
        covering = {number for number, (at, rule) in enumerate(rules) if _covers(rule, at, flow, pipeline)}
        met |= covering
        inside = flow.source_stage is flow.target_stage
        marked.append(_marked(flow) if covering or (inside and pipeline.get(flow.target_stage or Stage.INGESTION)) else flow)
    added = [_declared_flow(rule, at, pipeline) for number, (at, rule) in enumerate(rules) if number not in met]
    return (*marked, *added)


def _covers(rule: FlowRule, at: Stage, flow: Flow, pipeline: Mapping[Stage, StageRules]) -> bool:
    source, target = _end(rule.source, at, pipeline), _end(rule.target, at, pipeline)
    return source.stage is flow.source_stage and target.stage is flow.target_stage and source.stage is not None


def _declared_flow(rule: FlowRule, at: Stage, pipeline: Mapping[Stage, StageRules]) -> Flow:
    source, target = _end(rule.source, at, pipeline), _end(rule.target, at, pipeline)
    return Flow(source.node, target.node, source.stage, target.stage, (Origin.DECLARED,), sealed=None, over=rule.over)


def _end(name: str, at: Stage, pipeline: Mapping[Stage, StageRules]) -> End:
    """Resolve a flow's end: a stage, then something of the stage that declares it, then something of any other stage."""
    if name in Stage._value2member_map_:
        return End(f"stage:{name}", Stage(name))
    for stage in (at, *(other for other in pipeline if other is not at)):
        rules = pipeline[stage]
        if name in rules.stores:
            return End(store_id(stage, name), stage)
        if name in rules.compute:
            return End(compute_id(stage, name), stage)
    return End(f"outside:{name}", None)


def _marked(node: _Node) -> _Node:
    return replace(node, origins=(Origin.DECLARED, *node.origins))
