"""The first message of a connection."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.audit import handover
from hermetic.audit.chain import KEY_CHANGES
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import open_note
from hermetic.audit.tables_store import TablesStore
from hermetic.custody import callers, denial
from hermetic.custody.due import do_due
from hermetic.custody.looking import look
from hermetic.db import tables
from hermetic.errors import HermeticError, Unsupported
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Pair, Receipt
from hermetic.formats.messages.greeting import Hello, Restore, Welcome
from hermetic.formats.parts import CUSTODY, OUTDATED
from hermetic.formats.release import RELEASE
from hermetic.keys import secret_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.audit.note import Checkpoint
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession

PROTOCOL = 1


def hello(call: Call, request: Hello) -> Welcome:
    """Greet the caller. Raises Unsupported for another protocol, NotAuthenticated."""
    if request.protocol != PROTOCOL:
        newer = request.protocol > PROTOCOL
        raise Unsupported(
            f"custody of release {RELEASE} speaks version {PROTOCOL} of the port, the client version {request.protocol}",
            hint=CUSTODY.hint if newer else OUTDATED,
        )
    welcome, overdue = look(call.custodian, lambda session: _welcome(call, request, session))
    if overdue:
        denial.close_overdue(call)
    with suppress(HermeticError):  # whoever connects to look, or to cancel, must be able to; the log and `status` tell what failed
        do_due(call)
    return welcome


def _welcome(call: Call, request: Hello, session: ReadSession) -> tuple[Welcome, bool]:
    """Return what one state of the database says, and whether grants or requests are overdue in it.

    The key that signed its checkpoint is told, whichever key comes into force meanwhile.
    """
    custodian = call.custodian
    caller = callers.require(call, session)
    policy = custodian.policy.current(session)
    store = TablesStore(session.connection)
    checkpoint, note = custodian.log.head(store)
    log_key = custodian.log.verifier_key
    open_note(note, [log_key])
    steps, continues = _continuing(request, store, checkpoint)
    keys = secret_keys.ls(session, secret_keys.MANIFEST_SIGNING)
    changes = (*_earlier_changes(call, session, steps), *_key_changes(call, session))
    overdue = denial.any_overdue(call, session)
    welcome = Welcome(
        domain=custodian.domain,
        generation=custodian.generation,
        enforcement=call.enforcement.value,
        principal=caller.name,
        roles=caller.principal.roles,
        policy_digest=policy.digest,
        log_key=str(log_key),
        manifest_keys=tuple(Pair(key.key_id, to_base64url(key.public)) for key in keys),
        checkpoint=str(note),
        continues=continues,
        key_changes=changes,
        restores=tuple(Restore(step.leaf, step.path) for step in steps),
        release=RELEASE,
    )
    return welcome, bool(overdue)


def _continuing(request: Hello, store: TablesStore, now: Checkpoint) -> tuple[tuple[handover.Step, ...], tuple[bytes, ...]]:
    """Return what shows that the log continues what the caller saw, across restores too; nothing where it does not."""
    generation = now.origin.generation
    if not 0 < request.generation <= generation or (request.generation == generation and request.size > now.size):
        return (), ()
    newest, seen = (now.origin.domain, generation, now.size), (request.generation, request.size)
    return handover.prove(store, newest, seen)


def _earlier_changes(call: Call, session: ReadSession, steps: tuple[handover.Step, ...]) -> Iterator[Receipt]:
    """Yield the same of the generations since the one that the caller saw, proven under the ends that restores name."""
    store = TablesStore(session.connection)
    for proof in handover.key_changes(store, steps, call.custodian.domain, lambda generation: _changes_in(session, generation)):
        yield Receipt(Leaf.parse(proof.leaf).generation, proof.index, proof.leaf, bytes(proof).decode("utf-8"))


def _key_changes(call: Call, session: ReadSession) -> Iterator[Receipt]:
    """Yield the entries of this generation by which signing keys handed over, oldest first; they are few."""
    custodian = call.custodian
    for index in _changes_in(session, custodian.generation):
        proof = custodian.log.receipt(TablesStore(session.connection), index)
        yield Receipt(custodian.generation, proof.index, proof.leaf, bytes(proof).decode("utf-8"))


def _changes_in(session: ReadSession, generation: int) -> list[int]:
    leaf = tables.log_leaf
    query = sa.select(leaf.c.idx).where(leaf.c.generation == generation, leaf.c.kind.in_(KEY_CHANGES)).order_by(leaf.c.idx)
    return [int(index) for (index,) in session.connection.execute(query)]
