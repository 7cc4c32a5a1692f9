"""Lineage: what a version was made from, what was made from it, and the class it therefore has.

Edges are added while the child is a draft, and only to versions that were published: hence no cycles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.catalog import versions
from hermetic.catalog.values import Edge, VersionState
from hermetic.db import tables
from hermetic.errors import Conflict, UsageError
from hermetic.ids import DataClass, VersionId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.catalog.values import Version
    from hermetic.db.rows import ReadSession, Session

EDGE_LIMIT = 100_000  # edges that one question walks along


def add_parents(session: Session, child: Version, parents: Iterable[VersionId], how: str) -> tuple[Edge, ...]:
    """Say that a draft is made from these versions; those already said are left as they are. Returns the new edges.

    Raises Conflict when the child is no draft or a parent was never published, NotFound for an unknown parent.
    """
    if child.state is not VersionState.DRAFT:
        raise Conflict("lineage is fixed once a version is published", hint="name its inputs while it is a draft")
    known = {edge.parent for edge in parents_of(session, child.id)}
    added = [Edge(child.id, parent, how) for parent in sorted(set(parents) - known)]
    for edge in added:
        if versions.get(session, edge.parent).number is None:
            raise Conflict("a version that was never published cannot be an input", hint="publish it first")
        session.insert(tables.edge, child_version=edge.child, parent_version=edge.parent, how=edge.how)
    return tuple(added)


def parents_of(session: ReadSession, version_id: VersionId) -> tuple[Edge, ...]:
    """Return the edges to the versions it was made from."""
    return tuple(_edge(row) for row in session.find(tables.edge, child_version=version_id))


def children_of(session: ReadSession, version_id: VersionId) -> tuple[Edge, ...]:
    """Return the edges from the versions made from it."""
    return tuple(_edge(row) for row in session.find(tables.edge, parent_version=version_id))


def every_edge(session: ReadSession) -> Iterator[Edge]:
    """Yield all edges, those of one child together."""
    return (_edge(row) for row in session.scan(tables.edge))


def ancestors(session: ReadSession, version_id: VersionId, *, limit: int = EDGE_LIMIT) -> tuple[Edge, ...]:
    """Return every edge between a version and raw data, nearest first. Raises UsageError over `limit` edges."""
    return _walk(version_id, lambda at: parents_of(session, at), lambda edge: edge.parent, limit=limit)


def descendants(session: ReadSession, version_id: VersionId, *, limit: int = EDGE_LIMIT) -> tuple[Edge, ...]:
    """Return every edge between a version and all that was derived from it, nearest first. Raises UsageError over `limit`."""
    return _walk(version_id, lambda at: children_of(session, at), lambda edge: edge.child, limit=limit)


def parent_classes(session: ReadSession, parents: Iterable[VersionId]) -> tuple[DataClass, ...]:
    """Return the classes under which the parents were sealed. Raises NotFound for an unknown parent."""
    return tuple(versions.get(session, parent).data_class for parent in sorted(set(parents)))


def derived_class(parent_classes: Iterable[DataClass], requested: DataClass | None, decision_reason: str | None) -> DataClass:
    """Return the class of a derived version: the strictest of its parents, or a stricter one that was requested.

    A lower one needs the reason of a decision on record (de-identified, aggregated). Raises UsageError when it has none, or
    when there are neither parents nor a requested class.
    """
    strictest = max(parent_classes, key=lambda data_class: data_class.rank, default=None)
    if requested is None:
        if strictest is None:
            hint = (
                "say --class (in Python data_class=) public, internal, confidential or restricted where it can be said; "
                "or add to `rules:` in hermetic.yaml: - {asset: KIND/NAME, class: confidential}, then `hermetic policy apply`"
            )
            raise UsageError("no class is given and there is no input to take it from", hint=hint)
        return strictest
    if strictest is None or requested.rank >= strictest.rank:
        return requested
    if decision_reason is None or not decision_reason.strip():
        raise UsageError(
            f"made from {strictest.value} inputs, so it cannot be {requested.value} without a reason on record",
            hint=f"leave the class {strictest.value}, or say why it may be lower: --decision 'de-identified, and how'",
        )
    return requested


def _walk(
    start: VersionId,
    edges_at: Callable[[VersionId], tuple[Edge, ...]],
    far_end: Callable[[Edge], VersionId],
    *,
    limit: int,
) -> tuple[Edge, ...]:
    found: list[Edge] = []
    seen = {start}
    waiting = [start]
    for at in waiting:  # grows while it is walked: breadth first
        for edge in edges_at(at):
            found.append(edge)
            if len(found) > limit:
                raise UsageError(f"the lineage has more than {limit} edges", hint="ask about a version nearer to the one you need")
            if far_end(edge) not in seen:
                seen.add(far_end(edge))
                waiting.append(far_end(edge))
    return tuple(found)


def _edge(row: dict[str, str]) -> Edge:
    return Edge(VersionId(row["child_version"]), VersionId(row["parent_version"]), row["how"])
