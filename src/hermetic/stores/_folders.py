"""Walking a folder tree by descriptors, so that no symbolic link is ever followed below the root.

Each step opens one component relative to its parent's descriptor with O_NOFOLLOW: a link that is slipped in between check and use
cannot lead outside.

What is made is its owner's alone, except below a folder that a group shares (set-group-ID, the group may do everything: mode 2770):
there folders are made the same, and files are for the group to read.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, IntegrityError
from hermetic.stores.durable import make_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARED = 0o2770
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def parent_of(root: Path, key: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Lend (descriptor of the folder that holds `key`, last segment of `key`); with `create`, make missing folders, synced.

    Raises OSError; IntegrityError for a symbolic link on the way; FileNotFoundError or with `create` Conflict for a file.
    """
    *folders, name = key.split("/")
    fd = _open_root(root, create=create)
    try:
        for part in folders:
            child = _step(fd, part, create=create)
            os.close(fd)
            fd = child
        yield fd, name
    finally:
        os.close(fd)


def _open_root(root: Path, *, create: bool) -> int:
    if create:
        make_folders(root)
    return os.open(root, _FOLDER)  # the root itself may be reached through links: its owner chose it


def _step(parent: int, part: str, *, create: bool) -> int:
    for _ in range(3):  # another process may remove an emptied folder between our two calls
        try:
            return open_folder(parent, part)
        except FileNotFoundError:
            if not create:
                raise
        except NotADirectoryError:
            refuse_link(parent, part)
            if create:
                raise Conflict(f"{part!r} is an object, not a folder of the store") from None
            raise FileNotFoundError(part) from None
        with suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=parent)
            _share(parent, part)
        os.fsync(parent)
    return open_folder(parent, part)


def _share(parent: int, part: str) -> None:
    if not is_shared(parent):
        return
    fd = open_folder(parent, part)
    try:
        os.fchmod(fd, _SHARED)
    finally:
        os.close(fd)


def is_shared(fd: int) -> bool:
    """Whether a group shares the folder."""
    return os.fstat(fd).st_mode & (stat.S_ISGID | stat.S_IRWXG) == stat.S_ISGID | stat.S_IRWXG


def open_folder(parent: int, part: str) -> int:
    """Open a folder below `parent` without following a link. Raises OSError (NotADirectoryError for a link)."""
    return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)


def refuse_link(parent: int, name: str) -> None:
    """Raise IntegrityError if `name` is a symbolic link; return otherwise, also when it is missing."""
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise IntegrityError(
                f"a symbolic link stands where the store keeps {name!r}", hint="a store follows no links; find out who made it"
            )


def entries(fd: int) -> list[tuple[str, os.stat_result]]:
    """Return (name, lstat) of the folder's regular files and folders, in the order that whole keys sort in."""
    found = []
    for name in os.listdir(fd):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                found.append((name, status))
    return sorted(found, key=lambda item: f"{item[0]}/" if stat.S_ISDIR(item[1].st_mode) else item[0])


def remove_empty(root: Path, key: str) -> None:
    """Remove the folders of `key` that hold nothing any more, deepest first; a folder in use stays."""
    folder = key.rpartition("/")[0]
    while folder:
        try:
            with parent_of(root, folder) as (fd, name):
                os.rmdir(name, dir_fd=fd)
        except OSError:
            return
        folder = folder.rpartition("/")[0]
