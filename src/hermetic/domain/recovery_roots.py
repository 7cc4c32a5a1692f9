"""Recovery roots of a domain that is in use: added, listed, replaced. The private key never goes through the port.

    0  the file       the public half, waiting in the custody home: what is asked for twice, as after an approval, is the same root
    1  add-root       custody knows it, by a URI that holds the hash of its public half, on record
    2  the file       the public half in the custody home
    3  extend-root    domain.json, then a slot for every key; each wrap is opened again while the private key is here
    4  set-root-state active: new keys get a slot too, and the backup copy can be opened with it

Whoever calls has seen that the shares, or the escrow key, work: nothing becomes active before. What a crash leaves between two steps
is a pre-active root that nothing uses; `hermetic key root resume` goes on, and `key root drop` takes it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain.root_moves import extend
from hermetic.errors import Conflict, HermeticError, NotFound, UsageError
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.roots import AddRoot, DropRoot, ListRoots, SetRootState
from hermetic.ids import KeyState
from hermetic.keys import recovery_root, recovery_vouching
from hermetic.keys.provider import RootId
from hermetic.keys.recovery_root import RecoveryRootFile, holder_of
from hermetic.providers import private_file, recovery
from hermetic.providers.place import Place
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.hpke import PrivateKey
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.roots import RootChanged, RootDropped, RootRow

__all__ = ["Added", "RecoveryRootFile", "RecoveryRow", "add", "check_none_begun", "find", "listing", "waiting"]

WAITING = "recovery-root.waiting"  # the public half of a root that custody has not announced yet
PREFIX = 4  # shortest prefix of an id that names a root


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a new recovery root: its row, the log entry, the older one that it replaced, and what keeps the backup
    from being opened with it."""

    root: RootRow
    log_index: int | None
    replaced: RootDropped | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class RecoveryRow:
    """A recovery root as people see it: how it is held, by whom, since when; `count` and `threshold` are None for escrow.

    `authenticated` says that its key alone tells a copy of this domain from one that somebody else put together.
    """

    root: str
    holder: str
    name: str
    state: str
    count: int | None
    threshold: int | None
    created_ms: int
    slots: int
    keys: int
    authenticated: bool


def domain_check(connection: Connection) -> bytes:
    """Return the check value of the domain secret, which the pins have since the connection was made."""
    return bytes.fromhex(connection.pins.pins.domain_check)


def domain_fingerprint(connection: Connection) -> str:
    """Return what the holder of an escrow key keeps of the domain, to know its copies."""
    return recovery_vouching.fingerprint(connection.project.domain, domain_check(connection))


def listing(connection: Connection) -> list[RecoveryRow]:
    """Return the recovery roots that are not destroyed, oldest first."""
    rows = [row for row in connection.ask(ListRoots()).roots if row.state != KeyState.DESTROYED]
    return [_row(connection, row) for row in rows if holder_of(row.provider) is not None]


def find(connection: Connection, text: str) -> RecoveryRow:
    """Return the recovery root whose id starts with `text`. Raises NotFound, UsageError when several do."""
    found = [row for row in listing(connection) if row.root.startswith(text)] if len(text) >= PREFIX else []
    if not found:
        raise NotFound(f"no recovery root {text!r}", hint="`hermetic key shares ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} recovery roots", hint="write more of the id")
    return found[0]


def waiting(connection: Connection) -> RecoveryRootFile | None:
    """Return the public half that waits to be announced, after a refusal or for an approval; None if there is none."""
    path = connection.home.domain_data(connection.project.domain) / WAITING
    try:
        return RecoveryRootFile.decode(private_file.read(path, recovery_root.LIMIT))
    except NotFound:
        return None


def check_none_begun(connection: Connection) -> None:
    """Refuse to begin another recovery root while one is half-done. Raises Conflict that says how to go on."""
    for row in listing(connection):
        if row.state == KeyState.PRE_ACTIVE:
            raise Conflict(
                f"recovery root {row.root} was begun and not finished",
                hint=f"hermetic key root resume {row.root[:8]}; or, if nobody has its key, "
                f"hermetic key root drop {row.root[:8]} --reason TEXT",
            )


def add(
    connection: Connection,
    file: RecoveryRootFile,
    private: PrivateKey | None = None,
    *,
    reason: str = "",
    replace: RecoveryRow | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Added:
    """Add a recovery root and make it active; with `replace`, take another one away afterwards.

    With the private key each wrap is tried; it is wiped at the end. Raises Conflict, PolicyDenied, ApprovalNeeded, Locked,
    KeyServiceUnavailable, IntegrityError, StorageError.
    """
    try:
        changed = _added(connection, file, private, reason=reason, progress=progress)
    finally:
        if private is not None:  # also after a refusal, or for an approval to come: the key is in its shares by now
            private.wipe()
    dropped = None if replace is None else _drop(connection, replace, reason)
    return Added(changed.root, None if changed.receipt is None else changed.receipt.index, dropped, _backup_problem(connection))


def _added(
    connection: Connection,
    file: RecoveryRootFile,
    private: PrivateKey | None,
    *,
    reason: str,
    progress: Callable[[int, int], None] | None,
) -> RootChanged:
    folder, domain = connection.home.domain_data(connection.project.domain), connection.project.domain
    private_file.write(folder / WAITING, file.encode(), replace=True)  # 0
    reached("recovery.root.waits")
    row = connection.ask(AddRoot(file.uri, reason)).root  # 1
    root_id = RootId(row.root)
    recovery.put(folder, root_id, file)  # 2
    private_file.wipe(folder / WAITING)
    reached("recovery.root.written")
    provider = recovery.RecoveryRoot(file.uri, Place(folder, domain, root_id), private)
    connection.roots.adopt(provider)
    try:
        extend(connection, row.root, progress=progress)  # 3
        return connection.ask(SetRootState(row.root, "activate", reason))  # 4
    finally:
        provider.lock()


def _backup_problem(connection: Connection) -> str | None:
    """Return why a fresh machine could not use the new root yet, None if it could."""
    if connection.config.backup_place is None:
        return "there is no backup place: name one in config.yaml, `backup: {place: DIR}`, then hermetic backup now"
    said = {pair.name: pair.value for pair in connection.ask(GatherFacts()).backup}
    return said.get("problem") or None


def _drop(connection: Connection, old: RecoveryRow, reason: str) -> RootDropped:
    """Take a recovery root out of the domain. Raises as `add`."""
    if old.state == KeyState.ACTIVE:
        connection.ask(SetRootState(old.root, "deactivate", reason))
    return connection.ask(DropRoot(old.root, reason))


def _row(connection: Connection, row: RootRow) -> RecoveryRow:
    place = Place(connection.home.domain_data(connection.project.domain), connection.project.domain, RootId(row.root))
    try:
        file = recovery.RecoveryRoot(row.provider, place).file()
    except HermeticError:  # its finding says what is wrong with the file
        file = None
    shares = None if file is None else file.shares
    return RecoveryRow(
        root=row.root,
        holder=holder_of(row.provider) or "",
        name="" if file is None else file.name,
        state=row.state,
        count=None if shares is None else shares.count,
        threshold=None if shares is None else shares.threshold,
        created_ms=row.created_ms,
        slots=row.slots,
        keys=row.keys,
        authenticated=file is not None and file.authenticator is not None,
    )
