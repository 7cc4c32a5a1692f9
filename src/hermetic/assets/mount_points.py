"""Folders and empty files that a run makes to mount something on, and that go with it.

A mount covers a place that exists. What is missing is made in the real file system, empty, and removed at the end of the run. Which
places those are stands in the run's private folder (`private_tmp`), written before they are made: when `hermetic run` is killed, the
next one removes them. Removing a folder takes away what another run has mounted on it, so two runs that use the same made place both
name it, and the last one removes it. Nothing but empty folders and empty files is ever removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.errors import StorageError
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORD = ".hermetic-mount-points"
_LIMIT = 1024 * 1024


def make(folder: Path, places: Sequence[tuple[Path, bool]]) -> None:
    """Make what is missing of `places` (path, whether it is a file), and name it in the run's private `folder`.

    Raises StorageError where nothing can be made.
    """
    with _one_at_a_time(folder):
        shared = _named_by_others(folder)
        missing: dict[str, bool] = {}
        for place, is_file in places:
            for path in (*reversed(place.parents), place):
                if str(path) in shared or not os.path.lexists(path):
                    missing.setdefault(str(path), is_file and path == place)
        if missing:
            (folder / RECORD).write_text(json.dumps(list(missing)), encoding="utf-8")
        for name, is_file in missing.items():
            _make_one(Path(name), is_file=is_file)


def remove(folder: Path) -> None:
    """Remove what the run of this private folder has made, unless another run uses it or something is in it."""
    with _one_at_a_time(folder):
        mine, others = _names_in(folder), _named_by_others(folder)
        for name in reversed(mine):
            if name not in others:
                _remove_one(Path(name))
        with suppress(FileNotFoundError):
            (folder / RECORD).unlink()


def _make_one(path: Path, *, is_file: bool) -> None:
    try:
        if is_file:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        else:
            path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise StorageError(
            f"cannot make {str(path)!r} to mount on: {(error.strerror or str(error)).lower()}", hint=hint_for(error)
        ) from error


def _remove_one(path: Path) -> None:
    with suppress(OSError):  # in use, not empty, or gone: then it is not ours to remove
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            path.rmdir()
        elif stat.S_ISREG(status.st_mode) and not status.st_size:
            path.unlink()


def _named_by_others(folder: Path) -> set[str]:
    prefix = folder.name[: folder.name.rfind("-") + 1]
    return {name for other in folder.parent.glob(f"{prefix}*") if other != folder for name in _names_in(other)}


def _names_in(folder: Path) -> list[str]:
    """Return what a private folder of this user names; nothing for anybody else's."""
    try:
        fd = os.open(folder / RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        if os.fstat(fd).st_uid != os.geteuid():
            return []
        with suppress(ValueError):
            found = json.loads(file.read(_LIMIT))
            if isinstance(found, list):
                return [name for name in found if isinstance(name, str)]
    return []


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process of this user at a time look and make. Somebody else's file in the lock's place is refused."""
    path = folder.parent / f"hermetic-mount-points-{os.geteuid()}.lock"
    fd = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # whoever waits for the lock finds another file under the name, and takes that
        os.close(fd)


def _locked(path: Path) -> int:
    """Return a descriptor of the file under this name, locked. Raises StorageError."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot use {str(path)!r}: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error
        mine = os.fstat(fd)
        if mine.st_uid != os.geteuid():
            os.close(fd)
            raise StorageError(f"{str(path)!r} belongs to somebody else", hint="have it removed, and find out who made it")
        fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if path.lstat().st_ino == mine.st_ino:
                return fd
        os.close(fd)
