"""A listening Unix socket at a path: in a folder that nobody else can write, and never in the place of one that somebody answers at.

Of two services that start at one place one is told; what a killed one left is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING

from hermetic.domain.socket_place import check_folders
from hermetic.errors import Conflict, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def listening(path: Path, mode: int) -> tuple[socket.socket, tuple[int, int, int]]:
    """Return a listening socket at `path`, and which file it is. It is bound under a private umask and opened to others once whole."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        check_folders(path.parent, frozenset({0, os.geteuid()}))
        with _alone(path.parent):
            _clear(path)
            before = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(128)  # before anybody may connect: a bound socket that does not listen looks like one left behind
            made = which(path.lstat())
            path.chmod(mode)
    except OSError as error:
        listener.close()
        raise StorageError(
            f"cannot listen at {path}: {error.strerror or error}", hint="the folder is to be there, and yours"
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener, made


def which(file: os.stat_result) -> tuple[int, int, int]:
    """Return which file this is. The number alone does not say: a file made after another is gone may get the same."""
    return file.st_dev, file.st_ino, file.st_mtime_ns


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other services from starting in this folder meanwhile: two that find a socket left behind would remove each other's."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _clear(path: Path) -> None:
    """Remove a socket that a killed service left. Raises Conflict when somebody answers there, or it is no socket."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise Conflict(f"{path} is there and is not a socket", hint="choose another path")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
    raise Conflict(f"somebody serves at {path} already", hint="stop that one first")
