"""When the backup copy is made, and what is known about it (spec/backup.md section 6).

A published version, a key change and a policy change bring the copy up to date before their answer returns. Anything else is
followed within 60 seconds by a timer, or when the connection closes. A place out of reach is remembered as a problem, which `status`
shows; it refuses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from typing import TYPE_CHECKING, Any

from hermetic.audit.tables_store import TablesStore
from hermetic.custody import copied, forgetting
from hermetic.custody.looking import look
from hermetic.db import tables
from hermetic.domain.backup import Copies
from hermetic.errors import FormatError, HermeticError, IntegrityError, LogTampered, NotFound, StorageError
from hermetic.formats import codec
from hermetic.formats.fields import whole_number
from hermetic.formats.messages.backup import BackupState
from hermetic.keys import domain_file
from hermetic.keys.recovery_root import LIMIT as ROOT_LIMIT
from hermetic.keys.recovery_root import holder_of
from hermetic.providers import private_file, recovery
from hermetic.steps import reached
from hermetic.stores.base import hint_for
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hermetic.audit.note import Checkpoint
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession
    from hermetic.domain.backup import Index
    from hermetic.formats.messages.base import Request

IMPORTANT = {  # by wire name
    "publish-version",
    "rotate-key",
    "rotate-signing-key",
    "rewrap-key",
    "change-key-state",
    "add-root",
    "extend-root",
    "set-root-state",
    "rewrap-root",
    "drop-root",
    "apply-policy",
    "set-roles",
    "enrol-approver",
    "remove-approver",
    "announce-destruction",
    "destroy-due",
    "shred-versions",
}
DELAY_S = 60.0
USED_MS = 12 * 3_600_000  # how old a copy may be that lacks nothing but uses of roots: half of what is a finding
LOCK_FILE = "backup.lock"


def recovery_name(root_id: str) -> str:
    """Return the name of a root's recovery wrap in the backup place."""
    return f"recovery-{root_id}.json"


def put_recovery(place: LocalStore, root_id: str, wrap: bytes) -> None:
    """Put a root's recovery wrap into a backup place, instead of an older one. Raises StorageError."""
    name = recovery_name(root_id)
    place.put_bytes(name, wrap, replace=place.exists(name))


class _TakenOver(LogTampered):
    """The place holds a later or another state. Never leaves this module."""


class BackupKeeper:
    """Keeps the copy of one domain in one place up to date. `folder` is the custody home of the domain."""

    def __init__(self, custodian: Custodian, folder: Path, place: Path, *, first: bool = False) -> None:
        """`first` says that a place which is not there yet is to be made."""
        self._custodian, self._folder, self._place, self._first = custodian, folder, place, first
        self._store = LocalStore(place / custodian.domain)
        self._copies = Copies(self._store, custodian.keys.backup)
        self._copied = -1  # commits that the last copy of this process covers
        self._covers = 0  # commits that the one which is being made will cover
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._pid = os.getpid()
        self._closed = False

    def after(self, request: Request[Any]) -> None:
        """Look at what a request changed, and copy now or soon."""
        if self._custodian.commits == max(self._copied, 0):
            return
        if codec.name_of(type(request)) in IMPORTANT:
            self.take()
        elif self._timer is None:
            self._timer = threading.Timer(DELAY_S, self._later)
            self._timer.daemon = True
            self._timer.start()

    def close(self, *, used: bool = False) -> None:
        """Copy what is not copied yet. `used` says that the log has new uses of roots, which alone are copied twice a day."""
        self._closed = True
        self._cancel_timer()
        if os.getpid() == self._pid and (self._custodian.commits > max(self._copied, 0) or (used and self._old())):
            self.take()

    def _old(self) -> bool:
        try:
            last = state_of(self._custodian).last_ms
        except HermeticError:
            return True
        return last is None or self._custodian.clock() - last > USED_MS

    def _later(self) -> None:
        """What the timer does: the connection may have been closed since."""
        if not self._closed and os.getpid() == self._pid:
            self.take()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def take(self) -> BackupState:
        """Bring the copy up to date; a failure becomes part of the state, not an error."""
        with self._lock:
            self._cancel_timer()
            try:
                said = self._copy()
            except HermeticError as error:
                problem = error.message if error.hint is None else f"{error.message}; {error.hint}"
                return self._remember(problem=problem, taken_over=isinstance(error, _TakenOver))
            self._copied = self._covers
            return self._remember(said)

    def _copy(self) -> dict[str, str]:
        """Copy, and return what to remember of it. Its time is from before the snapshot: what is destroyed later may be in it."""
        with self._alone():
            custodian = self._custodian
            self._must_be_there()
            copied.begin(custodian)
            at_ms, self._covers = custodian.clock(), custodian.commits
            checkpoint, destroyed, database = look(custodian, self._snapshot)
            self._put_files()
            self._copies.write(
                database,
                generation=custodian.generation,
                log_size=checkpoint.size,
                log_root=checkpoint.root,
                at_ms=at_ms,
                anew=destroyed > 0,
            )
            if destroyed:
                with contextlib.suppress(HermeticError):  # a full disk: then the next copy is written whole once more
                    copied.written_anew(custodian, destroyed)
            return said_of(custodian.generation, checkpoint.size, at_ms)

    def _snapshot(self, session: ReadSession) -> tuple[Checkpoint, int, bytes]:
        """Return the log's head, how many destructions the last whole copy lacks, and the whole database."""
        store = TablesStore(session.connection)
        self._must_be_ours(store)
        checkpoint, _ = self._custodian.log.head(store)
        return checkpoint, forgetting.since_copy(session), session.whole_database()

    def _must_be_there(self) -> None:
        """Refuse an empty mount point: a copy that goes to the disk it should survive with is none. Raises StorageError."""
        known = state_of(self._custodian)
        if self._first:
            self._first = False
        elif known.place == str(self._place) and known.last_ms is not None:
            if not (self._place / self._custodian.domain).is_dir():
                raise StorageError(f"{self._place} no longer holds the copies of this domain", hint="is the disk mounted?")
        elif not self._place.is_dir():
            raise StorageError(
                f"the backup place {self._place} is not there", hint="is the disk mounted? if it is new, make the folder"
            )

    def _must_be_ours(self, store: TablesStore) -> None:
        """Refuse to cover the copy of a later state: this home may be stale, its domain restored elsewhere. Raises LogTampered."""
        newest = self._copies.known()
        ours = self._custodian.generation
        if newest is None or newest.generation < ours:
            return
        if newest.generation > ours or not self._continues(store, newest):
            raise _TakenOver(
                f"{self._place} holds a later or another state of this domain than this custody home",
                hint="if the domain was restored on another machine, this home is stale: retire it",
            )

    def _continues(self, store: TablesStore, newest: Index) -> bool:
        """Whether our log holds what that copy's log held."""
        try:
            return self._custodian.log.root_at(store, newest.log_size) == newest.log_root
        except LogTampered:  # it is shorter than that
            return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this user from copying at the same time."""
        try:
            descriptor = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot lock the backup: {error.strerror}", hint=hint_for(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _put_files(self) -> None:
        """Put domain.json there, and again when it has changed; then remove what is there of roots that are no longer in it.

        Public halves of recovery roots go first: a domain.json that names one is of little use without it.
        """
        raw = private_file.read(self._folder / domain_file.NAME, domain_file.LIMIT)
        there = self._store.read_bytes(domain_file.NAME, limit=domain_file.LIMIT) if self._store.exists(domain_file.NAME) else None
        file = domain_file.DomainFile.decode(raw)
        self._put_public(file)
        if raw == there:
            return
        self._store.put_bytes(domain_file.NAME, raw, replace=there is not None)
        reached("backup.domain-file.written")
        kept = {name(root.root_id) for root in file.roots for name in (recovery_name, recovery.name_of)}
        for name, _ in [*self._store.list("recovery-"), *self._store.list("root-")]:
            if name not in kept:
                self._store.delete(name)

    def _put_public(self, file: domain_file.DomainFile) -> None:
        """Put the public halves of recovery roots there that it lacks, or has changed; one damaged here is its provider's finding."""
        for root in file.roots:
            name = recovery.name_of(root.root_id)
            if holder_of(root.provider) is None:
                continue
            with contextlib.suppress(NotFound, IntegrityError):
                ours = recovery.read(private_file.read(self._folder / name, ROOT_LIMIT), root.provider).encode()
                there = self._store.exists(name)
                if not there or not self._holds(name, ours):
                    self._store.put_bytes(name, ours, replace=there)
                    reached("backup.recovery-root.written")

    def _holds(self, name: str, ours: bytes) -> bool:
        """Tell whether a file of the place is what it should be. Only for deciding whether to write it: nothing is believed here."""
        try:
            return self._store.read_bytes(name, limit=len(ours)) == ours
        except FormatError:  # longer than ours
            return False

    def put_recovery(self, root_id: str, wrap: bytes) -> None:
        """Put a root's recovery wrap there. Raises StorageError."""
        put_recovery(self._store, root_id, wrap)

    def has_recovery(self) -> bool:
        """Whether some root can be recovered from the place with a passphrase. False when the place is out of reach."""
        try:
            return any(True for _ in self._store.list("recovery-"))
        except StorageError:
            return False

    def _remember(self, copied: dict[str, str] | None = None, *, problem: str | None = None, taken_over: bool = False) -> BackupState:
        """Write what `status` shows. This is no unit of work: it changes nothing that policy or log know."""
        said = {"place": str(self._place), "has_recovery": str(self.has_recovery()).lower(), "problem": problem or ""}
        said |= {"taken_over": str(taken_over).lower(), **(copied or {})}
        with contextlib.suppress(HermeticError):  # a full disk here must not undo what was done
            write_state(self._custodian, said)
        return state_of(self._custodian)


def write_state(custodian: Custodian, values: dict[str, str]) -> None:
    """Set rows of `backup_state`."""
    with custodian.database.write(custodian.row_keys, step="domain.backup.remembered") as session:
        set_rows(session, values)


def set_rows(session: Any, values: Mapping[str, str]) -> None:
    """Set rows of `backup_state` in this transaction."""
    for key, value in values.items():
        if session.get(tables.backup_state, key) is None:
            session.insert(tables.backup_state, key=key, value=value)
        else:
            session.update(tables.backup_state, key, None, value=value)


def said_of(generation: int, log_size: int, at_ms: int) -> dict[str, str]:
    """Return what `backup_state` remembers of a copy."""
    return {"log_generation": str(generation), "log_size": str(log_size), "last_ms": str(at_ms)}


def came_from(session: Any, index: Index, place: Path, *, has_recovery: bool) -> None:
    """Say in a database that comes back which copy it came from, and that copies go there: what it holds is what its old home said."""
    said = {"place": str(place), "has_recovery": str(has_recovery).lower(), "problem": "", "taken_over": "false"}
    set_rows(session, said | said_of(index.generation, index.log_size, index.at_ms))


def state_of(custodian: Custodian) -> BackupState:
    """Return what is known about the copy."""
    with custodian.database.read(custodian.row_keys) as session:
        said = {row["key"]: row["value"] for row in session.find(tables.backup_state) if isinstance(row["value"], str)}
    return BackupState(
        place=said.get("place") or None,
        last_ms=whole_number(said.get("last_ms")),
        log_size=whole_number(said.get("log_size")) or 0,
        checked_ms=whole_number(said.get("checked_ms")),
        has_recovery=said.get("has_recovery") == "true",
        problem=said.get("problem") or None,
    )
