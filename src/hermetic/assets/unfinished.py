"""Notes of what was begun at plain locations on this machine, so that what a crash interrupts is finished by the next look.

    <settings of the domain>/unfinished/<version id>.json   a version is published to locations: all of its files are seen, or none
    <settings of the domain>/unfinished/move-<id>.json      an object is copied, moved or removed

A note is durable before custody commits, and removed when the files are in their places. It says only where to look: custody says what
belongs there, so a note that outlived its cause, or that somebody edited, leads to nothing else.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.assets.session import fresh_id
from hermetic.errors import FormatError, StorageError
from hermetic.formats import canonical
from hermetic.ids import check_id
from hermetic.stores.base import write_fully
from hermetic.stores.durable import make_folders, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hermetic.assets.session import Session
    from hermetic.formats.messages.versions import ObjectRecord

FOLDER = "unfinished"
_MOVE = "move-"
_LIMIT = 64 * 1024 * 1024
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Note:
    """A note and what it says."""

    path: Path
    facts: dict[str, Any]

    @property
    def exists(self) -> bool:
        """Whether it is still there: under the lock of its asset, whether nobody has finished it meanwhile."""
        return self.path.exists()

    def remove(self) -> None:
        """Remove it. Raises StorageError."""
        with _storage_errors(self.path):
            self.path.unlink(missing_ok=True)

    @property
    def is_left(self) -> bool:
        """Whether the process that wrote it waits for no answer from custody any more: it has one, or has ended."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


@contextmanager
def announced(session: Session, place: str | None, version: str, records: Sequence[ObjectRecord]) -> Iterator[None]:
    """Note around its publication that a version goes to locations of `place`; with None nothing. Raises StorageError."""
    if place is None:
        yield
        return
    facts: dict[str, Any] = {"version": version, "place": place}
    facts["objects"] = [[record.index, record.object, record.member] for record in records]
    fd = _write(session, check_id(version), facts)
    try:
        yield
    finally:
        os.close(fd)  # whether it was published, only custody knows


def delivered(session: Session, version: str) -> None:
    """Remove the note of a version whose files are where they belong. Raises StorageError."""
    path = _folder(session) / f"{check_id(version)}.json"
    with _storage_errors(path):
        path.unlink(missing_ok=True)


def note_move(session: Session, facts: dict[str, Any]) -> Note:
    """Note that an object is about to be copied, moved or removed; called with deliveries held off. Raises StorageError."""
    name = f"{_MOVE}{fresh_id()}"
    os.close(_write(session, name, facts))
    return Note(_folder(session) / f"{name}.json", facts)


def deliveries(session: Session) -> list[Note]:
    """Return the notes of versions. Raises StorageError."""
    return [note for note in _notes(session) if not note.path.name.startswith(_MOVE)]


def moves(session: Session) -> list[Note]:
    """Return the notes of moves, copies and removals. Raises StorageError."""
    return [note for note in _notes(session) if note.path.name.startswith(_MOVE)]


def _folder(session: Session) -> Path:
    connection = session.connection
    return connection.home.domain_config(connection.project.domain) / FOLDER


def _write(session: Session, name: str, facts: dict[str, Any]) -> int:
    """Write a note durably and return it open and locked: it appears whole, since it gets its name last."""
    folder = _folder(session)
    path, temporary = folder / f"{name}.json", folder / f".{fresh_id()}.tmp"
    with _storage_errors(path):
        make_folders(folder)
        fd = os.open(temporary, _CREATE, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            write_fully(fd, memoryview(canonical.encode(facts)))
            os.fsync(fd)
            temporary.replace(path)
            sync_folder(folder)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                temporary.unlink()
            raise
    return fd


def _notes(session: Session) -> list[Note]:
    folder = _folder(session)
    with _storage_errors(folder):
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
    found = [_read(path) for path in paths]
    return [note for note in found if note is not None]


def _read(path: Path) -> Note | None:
    with _storage_errors(path):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None  # finished meanwhile
    facts = canonical.decode(raw, limit=_LIMIT)
    if not isinstance(facts, dict):
        raise FormatError(f"{path} is no note of Hermetic's", hint="remove it")
    return Note(path, facts)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}", hint="check the folder's permissions and space") from error
