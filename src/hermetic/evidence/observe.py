"""What custody's records and a scan show of the pipeline: stores in use, runs, flows between them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.evidence import stages
from hermetic.evidence.chart import ComputeNode, Flow, Holding, Origin, StoreNode

if TYPE_CHECKING:
    from hermetic.evidence.surroundings import PlainFile, Surroundings
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.domain import Facts
    from hermetic.formats.messages.runs import RunRow
    from hermetic.ids import Purpose, Stage
    from hermetic.policy.model import PolicyDocument

OVER = "sealed objects, keys over the port"


@dataclass(frozen=True, slots=True)
class Observed:
    """Nodes and flows that are in use or were found; `home` maps an asset's name to its stage."""

    stores: tuple[StoreNode, ...]
    compute: tuple[ComputeNode, ...]
    flows: tuple[Flow, ...]
    beside: tuple[Holding, ...]
    home: dict[str, Stage]


def observe(facts: Facts, around: Surroundings) -> Observed:
    """Collect what is known from use and from scans."""
    home = _homes(facts)
    exposed = _exposed(facts)
    compute = _compute(facts.runs)
    flows = _run_flows(facts.runs, home)
    return Observed(
        stores=(*_sealed_stores(facts, around.document, home), *_plain_stores(around.plain_files or (), home)),
        compute=compute,
        flows=(*flows, *_derived_flows(facts, home, flows)),
        beside=tuple(_holding(asset, exposed) for asset in facts.assets if asset.name not in home),
        home=home,
    )


def asset_id(name: str) -> str:
    """Return the node id of an asset."""
    return f"asset:{name}"


def compute_id(stage: Stage, name: str) -> str:
    """Return the node id of compute in a stage."""
    return f"compute:{stage}:{name}"


def store_id(stage: Stage, name: str) -> str:
    """Return the node id of a store as one stage uses it."""
    return f"store:{stage}:{name}"


def describe(document: PolicyDocument, name: str) -> str:
    """Say where a store lies, as far as hermetic.yaml tells."""
    rules = document.stores.get(name)
    if rules is None:
        return "not in hermetic.yaml"
    return f"folder {rules.path}" if rules.path is not None else "configured by name"


def _homes(facts: Facts) -> dict[str, Stage]:
    written: defaultdict[str, set[Purpose]] = defaultdict(set)
    read: defaultdict[str, set[Purpose]] = defaultdict(set)
    for run in facts.runs:
        for ref in run.outputs:
            written[stages.bare(ref)].add(run.purpose)
        for ref in run.inputs:
            read[stages.bare(ref)].add(run.purpose)
    found = {
        asset.name: stages.of_asset(asset.name, latest=asset.latest, written_for=written[asset.name], read_for=read[asset.name])
        for asset in facts.assets
    }
    return {name: stage for name, stage in found.items() if stage is not None}


def _exposed(facts: Facts) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for row in facts.exposures:
        if row.ended_ms is None:
            counts[stages.bare(row.ref)] += 1
    return dict(counts)


def _holding(asset: AssetRow, exposed: dict[str, int]) -> Holding:
    return Holding(
        id=asset_id(asset.name),
        name=asset.name,
        kind=asset.name.partition("/")[0],
        sealed=True,
        data_class=asset.data_class,
        environment=asset.environment,
        latest=asset.latest,
        length=asset.length,
        exposed=exposed.get(asset.name, 0),
    )


def _sealed_stores(facts: Facts, document: PolicyDocument, home: dict[str, Stage]) -> list[StoreNode]:
    exposed = _exposed(facts)
    grouped: defaultdict[tuple[Stage, str], list[Holding]] = defaultdict(list)
    for asset in facts.assets:
        if asset.name in home:
            store = document.store_for(asset.environment)
            grouped[home[asset.name], store].append(_holding(asset, exposed))
    return [
        StoreNode(store_id(stage, name), name, describe(document, name), stage, (Origin.OBSERVED,), tuple(holdings))
        for (stage, name), holdings in grouped.items()
    ]


def _plain_stores(files: tuple[PlainFile, ...], home: dict[str, Stage]) -> list[StoreNode]:
    """Group unprotected files by stage and folder."""
    grouped: defaultdict[tuple[Stage, str], list[Holding]] = defaultdict(list)
    for item in files:
        known = home.get(stages.bare(item.copy_of)) if item.copy_of else None
        folder, _, name = item.path.rpartition("/")
        grouped[known or stages.of_file(item.path), folder or "."].append(
            Holding(f"file:{item.path}", name, item.kind, False, None, None, 0, item.length, 0)  # noqa: FBT003 - not sealed
        )
    return [
        StoreNode(store_id(stage, folder), folder, "plaintext on disk", stage, (Origin.DISCOVERED,), tuple(holdings))
        for (stage, folder), holdings in grouped.items()
    ]


def _compute(runs: tuple[RunRow, ...]) -> tuple[ComputeNode, ...]:
    grouped: defaultdict[tuple[Stage, str], list[RunRow]] = defaultdict(list)
    for run in runs:
        grouped[stages.of_run(run), run.name].append(run)
    return tuple(
        ComputeNode(
            id=compute_id(stage, name),
            name=name,
            stage=stage,
            origins=(Origin.OBSERVED,),
            purpose=same[0].purpose,
            runs=len(same),
            failed=sum(run.state == "failed" for run in same),
            last_ms=max(run.started_ms for run in same),
        )
        for (stage, name), same in grouped.items()
    )


def _run_flows(runs: tuple[RunRow, ...], home: dict[str, Stage]) -> tuple[Flow, ...]:
    """What runs read and wrote, each pair of nodes once."""
    flows: dict[tuple[str, str], Flow] = {}
    for run in runs:
        stage = stages.of_run(run)
        node = compute_id(stage, run.name)
        for name in sorted({stages.bare(ref) for ref in run.inputs}):
            flows[asset_id(name), node] = Flow(asset_id(name), node, home.get(name), stage, (Origin.OBSERVED,), sealed=True, over=OVER)
        for name in sorted({stages.bare(ref) for ref in run.outputs}):
            flows[node, asset_id(name)] = Flow(node, asset_id(name), stage, home.get(name), (Origin.OBSERVED,), sealed=True, over=OVER)
    return tuple(flows.values())


def _derived_flows(facts: Facts, home: dict[str, Stage], known: tuple[Flow, ...]) -> tuple[Flow, ...]:
    """Lineage that no run explains: an asset made from another outside any run."""
    through: defaultdict[str, set[str]] = defaultdict(set)
    for flow in known:
        through[flow.source].add(flow.target)
    flows: dict[tuple[str, str], Flow] = {}
    for edge in facts.edges:
        parent, child = asset_id(stages.bare(edge.name)), asset_id(stages.bare(edge.value))
        explained = any(child in through[node] for node in through[parent])
        if child != parent and not explained:
            flows[parent, child] = Flow(
                parent,
                child,
                home.get(stages.bare(edge.name)),
                home.get(stages.bare(edge.value)),
                (Origin.OBSERVED,),
                sealed=True,
                over="outside any run",
            )
    return tuple(flows.values())
