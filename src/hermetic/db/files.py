"""The database's files: who owns them, how they come into being, how they are replaced never.

The folder has mode 0700 and the files 0600 when Hermetic makes them; if others can write them, they are refused. A new database is
built under a temporary name, synced, and renamed to its final name, which must be free.

Nothing here opens the database file itself while connections to it may be open: closing any descriptor of a file drops all locks
that the process holds on it, SQLite's too (fcntl(2), sqlite.org/howtocorrupt.html 2.2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, Denied, NotFound, StorageError
from hermetic.stores.base import hint_for
from hermetic.stores.durable import make_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIDES = ("-wal", "-shm", "-journal", ".lock")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn OSError into StorageError (Conflict where a name is taken)."""
    try:
        yield
    except FileExistsError:
        raise Conflict(
            f"{what}: a file of that name exists", hint="choose another place, or open the database that is there"
        ) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "failed"
        hint = "free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "check the folder, its mount and its permissions"
        raise StorageError(f"{what}: {why}", hint=hint) from None


def check_owned(path: Path) -> os.stat_result:
    """Check database, folder and side files: ours, regular, not writable by others; return the database's stat.

    Raises NotFound, Denied, StorageError.
    """
    check_folder(path.parent)
    found = _check_mode(path, stat.S_ISREG, "the database")
    for side in SIDES:
        with contextlib.suppress(NotFound):
            _check_mode(path.with_name(path.name + side), stat.S_ISREG, f"the database's {side} file")
    return found


def check_folder(folder: Path) -> None:
    """Check that the folder is ours and not writable by others. Raises NotFound, Denied, StorageError."""
    _check_mode(folder, stat.S_ISDIR, "the folder of the database", follow=True)


def _check_mode(path: Path, is_kind: Callable[[int], bool], what: str, *, follow: bool = False) -> os.stat_result:
    try:
        found = path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{what} does not exist", hint="run `hermetic init`, or check HERMETIC_HOME") from None
    except OSError as error:
        raise StorageError(f"{what} cannot be examined: {error.strerror}", hint=hint_for(error)) from None
    if not is_kind(found.st_mode):
        raise Denied(f"{what} is not a plain file or folder", hint="a link in its place may lead into someone else's files")
    if found.st_uid != os.geteuid():
        raise Denied(f"{what} belongs to another user", hint="whoever owns it can change what Hermetic believes")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise Denied(f"{what} can be written by other users", hint="chmod go-w, after finding out who wrote to it")
    return found


def make_folder(folder: Path) -> None:
    """Make the folder with mode 0700, and its parents, if missing, durable. Raises StorageError, Conflict for a file in the way."""
    with storage_errors("the folder of the database cannot be made"):
        make_folders(folder)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Lend a temporary name beside `path`, an empty 0600 file; at the end sync it and give it its name, which must be free.

    The caller holds the writer lock of `path`. Whatever fails, nothing appears under the final name, and the temporary files are
    removed; those that a killed process left behind are removed by the next one. Raises Conflict, StorageError.
    """
    if os.path.lexists(path):
        raise Conflict("the database exists already", hint="open it, or choose another place")
    _remove_temporaries(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with storage_errors("the database cannot be created"):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield temporary
        _refuse_side_files(temporary)
        with storage_errors("the database cannot be created"):
            sync(temporary)
            temporary.rename(path)
            sync(path.parent)
    finally:
        _remove_temporaries(path)


def _refuse_side_files(path: Path) -> None:
    """Refuse a database that was closed and still has a log: SQLite could not bring it into the file, and says nothing about it."""
    if any(path.with_name(path.name + side).exists() for side in ("-wal", "-journal")):
        raise StorageError("the database cannot be created: a sync failed", hint="check the disk before trying again")


def _remove_temporaries(path: Path) -> None:
    with contextlib.suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*"):
            left.unlink()


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
