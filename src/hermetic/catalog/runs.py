"""Runs: executions of code with a declared purpose. What a run wrote is `versions.of_run`; what it read is in the lineage of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog.values import Run, RunState, fresh_id
from hermetic.db import tables
from hermetic.errors import Conflict
from hermetic.ids import Purpose, RunId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.db.rows import ReadSession, Session


def start(
    session: Session,
    name: str,
    *,
    purpose: Purpose,
    principal: str,
    now_ms: int,
    details: Mapping[str, Any] | None = None,
    run_id: RunId | None = None,
) -> Run:
    """Record that a run has started. `details` are JSON: command, code version, parameters."""
    made = RunId(fresh_id()) if run_id is None else run_id
    session.insert(
        tables.run,
        id=made,
        name=name,
        purpose=purpose,
        principal=principal,
        state=RunState.RUNNING,
        started_ms=now_ms,
        details=None if details is None else dict(details),
    )
    return get(session, made)


def end(session: Session, run: Run, state: RunState, *, now_ms: int, details: Mapping[str, Any] | None = None) -> Run:
    """Record how a run ended; `details`, if given, replace those of the start. Raises Conflict when it has ended already."""
    if run.state is not RunState.RUNNING:
        raise Conflict(f"the run has already ended ({run.state.value})", hint="start another run")
    if state is RunState.RUNNING:
        raise Conflict("a run ends as succeeded, failed or aborted")
    more = {} if details is None else {"details": dict(details)}
    return _run(session.update(tables.run, run.id, run.revision, state=state, ended_ms=now_ms, **more))


def get(session: ReadSession, run_id: RunId) -> Run:
    """Return the run with this id. Raises NotFound."""
    return _run(session.require(tables.run, run_id))


def list_runs(session: ReadSession, *, state: RunState | None = None) -> list[Run]:
    """Return the runs, or those in one state, latest first."""
    rows = session.find(tables.run) if state is None else session.find(tables.run, state=state)
    return [_run(row) for row in sorted(rows, key=lambda row: (-row["started_ms"], row["id"]))]


def _run(row: dict[str, Any]) -> Run:
    return Run(
        id=RunId(row["id"]),
        name=row["name"],
        purpose=Purpose(row["purpose"]),
        principal=row["principal"],
        state=RunState(row["state"]),
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        details=row["details"],
        revision=row["revision"],
    )
