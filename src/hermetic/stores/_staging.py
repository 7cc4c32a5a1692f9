"""One file being written into a local store: temporary name, sync, final name, sync of the folder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from hermetic.errors import Conflict, UsageError
from hermetic.steps import reached
from hermetic.stores._folders import is_shared, parent_of
from hermetic.stores.base import TEMPORARY_PREFIX, translated
from hermetic.stores.output import DescriptorOutput

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_READABLE = 0o640  # of what lies in a folder that a group shares


class LocalStagedFile(DescriptorOutput):
    """A StagedFile of a LocalStore. The temporary file stays locked while it is written, so that `sweep` leaves it alone."""

    __slots__ = ("_folder", "_key", "_last", "_replace", "_root", "_stack", "_temporary")

    def __init__(self, root: Path, key: str, *, replace: bool = False) -> None:
        super().__init__(-1, key)
        self._root, self._key, self._replace = root, key, replace
        self._folder = -1
        self._last = self._temporary = ""  # the last segment of the key, and the name that stands in for it
        self._stack = ExitStack()

    @property
    def key(self) -> str:
        """The key that `commit` will give it."""
        return self._key

    @property
    def fd(self) -> int:
        """Descriptor open for reading and writing. Raises UsageError outside the block and after `commit`."""
        if self._fd < 0:
            raise UsageError("a staged file is written inside its block and before commit")
        return self._fd

    def __enter__(self) -> Self:
        with translated("write", self._key):
            for _ in range(3):  # a folder that was emptied may be removed between opening it and writing into it
                with suppress(FileNotFoundError):
                    self._begin()
                    return self
            self._begin()
        return self

    def _begin(self) -> None:
        with ExitStack() as stack:
            self._folder, self._last = stack.enter_context(parent_of(self._root, self._key, create=True))
            if _taken(self._folder, self._last, replace=self._replace):
                raise Conflict(f"{self._key!r} is in the store already", hint="objects are never replaced; use a new key")
            self._temporary = TEMPORARY_PREFIX + secrets.token_hex(8)
            self._fd = os.open(self._temporary, _CREATE, 0o600, dir_fd=self._folder)
            stack.callback(self._close)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stack = stack.pop_all()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stack:  # closes the file, then its folder
            self._drop_temporary()

    def commit(self) -> None:
        """Sync, name, sync the folder. Raises Conflict, StorageError; then no final name is left."""
        with translated("write", self._key):
            if is_shared(self._folder):
                os.fchmod(self.fd, _READABLE)
            os.fsync(self.fd)
            reached("store.stage.synced")
            if self._replace:
                os.rename(self._temporary, self._last, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                self._temporary = ""
            else:
                self._name_without_replacing()
            try:
                reached("store.stage.renamed")
                os.fsync(self._folder)
                reached("store.stage.folder-synced")
            except BaseException:
                if not self._replace:  # a commit that raised has left no name; what was replaced is gone already
                    _unlink(self._folder, self._last)
                raise
            self._close()

    def _name_without_replacing(self) -> None:
        folder, temporary = self._folder, self._temporary
        try:
            os.link(temporary, self._last, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                raise
            rename_without_replacing(folder, temporary, self._last)  # a file system without hard links
            self._temporary = ""
        self._drop_temporary()

    def _drop_temporary(self) -> None:
        if self._temporary:
            _unlink(self._folder, self._temporary)
            self._temporary = ""

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def rename_without_replacing(folder: int, old: str, new: str) -> None:
    """Call renameat2(2) with RENAME_NOREPLACE inside one folder. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, "this system cannot rename without replacing")
    if call(folder, os.fsencode(old), folder, os.fsencode(new), ctypes.c_uint(_RENAME_NOREPLACE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _taken(folder: int, name: str, *, replace: bool) -> bool:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not replace or stat.S_ISDIR(status.st_mode)


def _unlink(folder: int, name: str) -> None:
    with suppress(OSError):  # already on a failing path, or swept later
        os.unlink(name, dir_fd=folder)
