"""Roots in the custody database, and the providers at hand that hold them.

A root's row says which provider holds it and whether new keys are wrapped under it; the wraps themselves are the slots of KEKs and
signing keys, and `domain.json` for the domain secret. States: active (gets slots for new keys), suspended (passed over for now),
deactivated (opens, gets no new slots), compromised (opens for recovery only), destroyed (its slots are gone).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.db import tables
from hermetic.errors import KeyServiceUnavailable, KeyUnusable
from hermetic.ids import DomainId, KeyState
from hermetic.keys.domain_file import check_uri
from hermetic.keys.kek import state_of
from hermetic.keys.provider import Provider, RootId
from hermetic.keys.states import check_transition, check_use

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hermetic.db.rows import ReadSession, Session


@dataclass(frozen=True, slots=True)
class Anchors:
    """The domain, and the providers that can be asked now, in the order in which they are tried."""

    domain: DomainId
    providers: Mapping[RootId, Provider]


@dataclass(frozen=True, slots=True)
class Root:
    """A root as the catalogue knows it. `kind` is the scheme of its provider, with the kind of a local one."""

    root_id: RootId
    provider_uri: str
    kind: str
    state: KeyState
    created_ms: int
    parameters: Mapping[str, Any]
    revision: int


def add(session: Session, provider: Provider, *, now_ms: int, parameters: Mapping[str, Any] | None = None) -> Root:
    """Record a root as active. KEKs that exist get their slots by `migration.extend_to_root`. Raises Conflict."""
    uri = check_uri(provider.uri)
    scheme, _, rest = uri.partition(":")
    session.insert(
        tables.root,
        id=provider.root_id,
        provider_uri=uri,
        kind=uri if scheme == "local" and rest else scheme,
        state=KeyState.ACTIVE.value,
        created_ms=now_ms,
        parameters=dict(parameters or {}),
    )
    return get(session, provider.root_id)


def get(session: ReadSession, root_id: RootId) -> Root:
    """Return a root. Raises NotFound, RowTampered."""
    return _root(session.require(tables.root, root_id))


def ls(session: ReadSession) -> list[Root]:
    """Return all roots in order of id."""
    return [_root(row) for row in session.find(tables.root)]


def set_state(session: Session, root_id: RootId, state: KeyState) -> Root:
    """Change the state of a root. Raises KeyUnusable (not allowed), Conflict (is in it), NotFound. Slots are not touched."""
    root = get(session, root_id)
    check_transition(root.state, state)
    return _root(session.update(tables.root, root_id, root.revision, state=state.value))


def for_new_keys(session: ReadSession, anchors: Anchors) -> dict[RootId, Provider]:
    """Return the providers of all active roots. Raises KeyServiceUnavailable when one is not at hand, KeyUnusable without any.

    A key that misses a root could not be recovered through it, so nothing new is made while one is missing.
    """
    active = [root for root in ls(session) if root.state is KeyState.ACTIVE]
    missing = [root.root_id for root in active if root.root_id not in anchors.providers]
    if missing:
        raise KeyServiceUnavailable(
            f"root {missing[0]} is not at hand, and new keys need every active root",
            hint="unlock or connect it, or suspend it with `hermetic key providers`",
        )
    if not active:
        raise KeyUnusable("this domain has no active root", hint="restore the domain from its backup copy")
    return {root.root_id: anchors.providers[root.root_id] for root in active}


def for_opening(session: ReadSession, anchors: Anchors, *, recovering: bool = False) -> dict[RootId, Provider]:
    """Return the providers whose roots may open keys now, in the order of `anchors`."""
    states = {root.root_id: root.state for root in ls(session)}
    return {root_id: provider for root_id, provider in anchors.providers.items() if _opens(states.get(root_id), recovering=recovering)}


def _opens(state: KeyState | None, *, recovering: bool) -> bool:
    if state is None:
        return False
    try:
        check_use(state, "unwrap", recovering=recovering)
    except KeyUnusable:
        return False
    return True


def _root(row: dict[str, Any]) -> Root:
    return Root(
        root_id=RootId(row["id"]),
        provider_uri=row["provider_uri"],
        kind=row["kind"],
        state=state_of(row["state"], f"root {row['id']}"),
        created_ms=row["created_ms"],
        parameters=row["parameters"],
        revision=row["revision"],
    )
