"""`hermetic lineage`: from a version back to everything it was made of, or forward to everything made of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Line, Mark
from hermetic.cli.options import environment, output
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.formats.messages.catalogue import TraceLineage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.cli.out import Out
    from hermetic.formats.messages.catalogue import Lineage, LineageNode


@click.command()
@click.argument("ref")
@click.option("--descendants", is_flag=True, help="What was made of it, instead of what it was made of.")
@environment()
@output
def lineage(out: Out, *, ref: str, descendants: bool) -> int:
    """Show what a version was made of.

    Back to raw data, with the run, the code version and the person behind each step.
    """
    with connected() as connection:
        graph = connection.ask(TraceLineage(ref, descendants))
    out.emit(graph, *_tree(graph, descendants=descendants))
    return 0


def _tree(graph: Lineage, *, descendants: bool) -> Iterator[Line]:
    nodes = {node.version: node for node in graph.nodes}
    following: defaultdict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        start, end = (edge.parent, edge.child) if descendants else (edge.child, edge.parent)
        following[start].append(end)
    shown: set[str] = set()
    todo = [(graph.nodes[0].version, 0)]
    while todo:
        version, depth = todo.pop()
        again = version in shown
        yield Line(_line(nodes[version], again=again), depth * 2)
        if not again:
            shown.add(version)
            todo += [(other, depth + 1) for other in reversed(following[version])]


def _line(node: LineageNode, *, again: bool) -> Mark:
    if again:
        return Mark(f"{node.ref} (see above)", "dim")
    made = f"run {node.run_name} for {node.purpose}" if node.run_name else f"{node.purpose}"
    code = f", code {node.code_version}" if node.code_version else ""
    decision = f"; decision: {node.decision}" if node.decision else ""
    return Mark(f"{node.ref}  {node.data_class}, {node.owner or 'no owner'}, {made}{code}, {moment(node.published_ms)}{decision}", "")
