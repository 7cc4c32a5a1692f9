"""A pipeline section for hermetic.yaml, written from what was observed, for a person to correct and keep."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hermetic.evidence.chart import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.evidence.chart import Flow, PipelineMap, StageView

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # what hermetic.yaml takes for a name
OVER = "memory"  # sealed objects, opened in the memory of the process that reads them


def pipeline_section(drawn: PipelineMap) -> str:
    """Return the YAML of a `pipeline:` section that declares everything observed; plaintext that was discovered is left out."""
    lines = ["pipeline:"]
    for view in drawn.stages:
        body = list(_stage(view, drawn.flows))
        if body:
            lines += [f"  {view.stage}:", *body]
    return "\n".join(lines) + "\n" if len(lines) > 1 else "pipeline: {}\n"


def _stage(view: StageView, flows: tuple[Flow, ...]) -> Iterator[str]:
    stores = [store.name for store in view.stores if store.origins != (Origin.DISCOVERED,)]
    compute = [node.name for node in view.compute if _WORD.fullmatch(node.name)]
    sources = dict.fromkeys(
        flow.source_stage
        for flow in flows
        if flow.target_stage is view.stage and flow.source_stage not in {None, view.stage} and Origin.OBSERVED in flow.origins
    )
    if stores:
        yield f"    stores: {_list(stores)}"
    if sources:
        yield "    flows:"
        for source in sources:
            yield f"      - {{from: {source}, to: {view.stage}, over: {OVER}}}"
    if compute:
        yield f"    compute: {_list(compute)}"


def _list(names: list[str]) -> str:
    """Write names as a YAML flow sequence; JSON strings are YAML strings."""
    return "[" + ", ".join(json.dumps(name) for name in dict.fromkeys(names)) + "]"
