"""`hermetic map`: the pipeline as a picture, as JSON, or as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import around
from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Facts, Heading, Line, Mark, Table
from hermetic.cli.files import write_new
from hermetic.cli.options import ANY_PATH, exit_with, output
from hermetic.cli.session import connected
from hermetic.cli.words import count
from hermetic.evidence import map as evidence
from hermetic.evidence import svg as picture
from hermetic.evidence.suggest import pipeline_section
from hermetic.formats.messages.domain import GatherFacts

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.evidence.chart import Answer, PipelineMap, StageView
    from hermetic.evidence.svg_style import Theme

_STYLE = {"protected": "good", "partial": "warn", "open": "bad", "unknown": "dim"}


@click.command(name="map")
@click.option("--svg", type=ANY_PATH, metavar="FILE", help="Write the picture to FILE.")
@click.option("--theme", type=click.Choice(["auto", "light", "dark"]), default="auto", help="Colours of the picture.")
@click.option("--scan", "scanned", type=ANY_PATH, multiple=True, metavar="PATH", help="Discover unprotected files in PATH too.")
@click.option("--suggest", is_flag=True, help="Print a pipeline section for hermetic.yaml from what was observed.")
@output
def map_(out: Out, *, svg: Path | None, theme: Theme, scanned: tuple[Path, ...], suggest: bool) -> int:
    """Draw the pipeline: what is stored, moving and processed where.

    Seven stages from ingestion to monitoring. Every store, flow and process is declared (in hermetic.yaml), discovered (by a scan) or
    observed (in custody's records); what is observed but not declared is a finding. Exits with 7 if there is any finding.
    """
    with connected() as connection:
        facts = connection.ask(GatherFacts())
        drawn = evidence.draw(facts, around.look(connection, out, scanned, facts))
    if suggest:
        return _suggest(out, drawn)
    if svg is not None:
        _write(drawn, svg, theme)
        out.note(f"wrote {svg}")
    out.emit(drawn.to_json(), *_blocks(drawn))
    return exit_with(drawn.findings)


def _suggest(out: Out, drawn: PipelineMap) -> int:
    section = pipeline_section(drawn)
    out.emit({"section": section}, section.rstrip("\n"))
    return 0


def _write(drawn: PipelineMap, path: Path, theme: Theme) -> None:
    write_new(path, picture.render(drawn, theme=theme).encode("utf-8"), replace=True)


def _blocks(drawn: PipelineMap) -> list[Block]:
    rows = [
        (
            Mark(f"{number}  {view.stage}", "name"),
            _cell(view.stored),
            _cell(view.moving),
            _cell(view.processed),
        )
        for number, view in enumerate(drawn.stages, 1)
    ]
    blocks: list[Block] = [Table(("stage", "stored", "moving", "processed"), rows)]
    for view in drawn.stages:
        if view.stores or view.compute or view.gaps:
            blocks += _stage(view)
    flows = [(_end(flow.source), _end(flow.target), ", ".join(flow.origins), flow.over) for flow in drawn.flows]
    blocks += [Heading("flows"), Table(("from", "to", "known as", "over"), flows, empty="  none")]
    return [*blocks, *findings_blocks.blocks(drawn.findings)]


def _cell(answer: Answer) -> Mark:
    return Mark(f"{answer.state}: {answer.text}", _STYLE[answer.state])


def _stage(view: StageView) -> list[Block]:
    facts: list[tuple[str, str | Mark]] = []
    for store in view.stores:
        names = ", ".join(item.name for item in store.holdings) or "nothing seen"
        facts.append(("store", f"{store.name} ({store.place}; {', '.join(store.origins)}): {names}"))
    for node in view.compute:
        runs = count(node.runs, "run") if node.runs else "never seen"
        facts.append(("compute", f"{node.name} ({', '.join(node.origins)}): {runs}"))
    facts += [("gap", Mark(gap, "warn")) for gap in view.gaps]
    return [Heading(view.stage.value), Facts(facts, 2)] if facts else [Line(view.stage.value)]


def _end(node: str) -> str:
    kind, _, rest = node.partition(":")
    return rest if kind == "asset" else f"{kind} {rest.replace(':', '/')}"
