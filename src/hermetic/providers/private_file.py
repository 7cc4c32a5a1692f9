"""Small private files: written whole or not at all, mode 0600; read only when nobody else could have written or read them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError
from hermetic.steps import reached
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPORARY = re.compile(r"[0-9a-f]{16}")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file durably: temporary name, sync, final name, sync of the folder.

    Raises Conflict if it is there already and `replace` is false, StorageError for everything the system refuses. A reader sees
    the old bytes or the new ones, never a part.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _translated("write", path):
        try:
            _write_synced(temporary, data)
            reached("providers.file.synced")
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # unlike a rename, a link refuses to replace
                temporary.unlink()
            _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    reached("providers.file.named")


def read(path: Path, limit: int) -> bytes:
    """Return the bytes of a private file.

    Raises NotFound; IntegrityError if it is no regular file, over `limit` bytes, owned by someone else than this user or root, or
    open to group or others; StorageError for everything else.
    """
    with _translated("read", path):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(os.fstat(handle), path, limit)
            with os.fdopen(os.dup(handle), "rb") as stream:
                data = stream.read(limit + 1)
        finally:
            os.close(handle)
    if len(data) > limit:
        raise IntegrityError(f"{path} has more than {limit} bytes")
    return data


def wipe(path: Path) -> bool:
    """Take a private file out of its place, overwrite it once, sync it, and remove it durably; returns whether it was there.

    It leaves its place first: after a crash that name has the whole file or none, never one half overwritten; what is left under a
    temporary name, `wipe_leftovers` finds. Raises as `read`. What the disk itself keeps of the file, in spare blocks or in snapshots
    of the file system, nothing here reaches.
    """
    return _wipe(path, path.with_name(f".{path.name}.{secrets.token_hex(8)}"))


def wipe_leftovers(path: Path) -> int:
    """Wipe what crashes left of `path` under temporary names; returns how many there were. Nobody may be writing it now.

    A name that a new file has beside its own, since `write` was cut before it took it away, is only taken away.
    """
    left = [item for item in path.parent.glob(f".{path.name}.*") if _TEMPORARY.fullmatch(item.name.removeprefix(f".{path.name}."))]
    return sum(_unlink(item) if _is_one_file(item, path) else _wipe(item, item) for item in left)


def _is_one_file(one: Path, other: Path) -> bool:
    with _translated("look at", one), contextlib.suppress(FileNotFoundError):
        return os.path.samestat(one.lstat(), other.lstat())
    return False


def _unlink(name: Path) -> bool:
    with _translated("remove", name):
        name.unlink(missing_ok=True)
        _sync_folder(name.parent)
    return True


def _wipe(path: Path, aside: Path) -> bool:
    with _translated("wipe", path):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            size = _own_size(os.fstat(handle), path)
            path.rename(aside)
            _sync_folder(path.parent)
            reached("providers.file.aside")
            rest = memoryview(secrets.token_bytes(size))
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        reached("providers.file.overwritten")
        aside.unlink(missing_ok=True)  # whoever wipes leftovers may be quicker
        _sync_folder(path.parent)
    reached("providers.file.removed")
    return True


def _own_size(info: os.stat_result, path: Path) -> int:
    if not stat.S_ISREG(info.st_mode) or info.st_uid not in {os.geteuid(), 0}:
        raise IntegrityError(f"{path} is not a file of this user", hint="look who put it there, and remove it by hand")
    return info.st_size


def _check(info: os.stat_result, path: Path, limit: int) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise IntegrityError(f"{path} is not a regular file")
    if info.st_uid not in {os.geteuid(), 0}:
        raise IntegrityError(f"{path} belongs to another user", hint="it could have been exchanged: find out who made it")
    if info.st_mode & 0o077:
        raise IntegrityError(f"{path} is open to other users", hint=f"look who could read it, then `chmod 600 {path}`")
    if info.st_size > limit:
        raise IntegrityError(f"{path} has more than {limit} bytes")


def _write_synced(path: Path, data: bytes) -> None:
    handle = os.open(path, _NEW, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except FileExistsError:
        raise Conflict(f"{path} exists already", hint="it is never overwritten: move it away if it is not needed") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise IntegrityError(f"{path} is a symbolic link") from None
        raise StorageError(f"cannot {verb} {path}: {error.strerror or error}", hint=hint_for(error)) from None
