"""What may be sealed: regular files, and folders of regular files. Looked at before any key is asked for.

A link is never followed, so that what is sealed is what was named. A FIFO or a device is refused before it is opened, since opening
one may hang or act. A file is opened by `open_input` only if it still is the one that was looked at (device and inode), which leaves
nothing to win by swapping names in between.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, InvalidName, NotFound, StorageError, UsageError
from hermetic.ids import check_member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MEMBERS_LIMIT = 8_000  # files of one version: their records have to fit one port message of 4 MiB

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A regular file to seal: where it is, its member name, length in bytes, and who it was when it was looked at."""

    path: Path
    member: str
    length: int
    modified_ns: int
    identity: tuple[int, int]  # device, inode


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that goes into one version, in order of member name."""

    files: tuple[InputFile, ...]
    is_folder: bool

    @property
    def length(self) -> int:
        """Bytes of all files together, as they were looked at."""
        return sum(file.length for file in self.files)


def collect(source: Path, *, member: str | None = None, closed: Iterable[Path] = ()) -> Inputs:
    """Look at `source` and return what it holds. `closed` are folders whose content is never sealed: stores, custody's home.

    Raises NotFound, UsageError, InvalidName, StorageError.
    """
    status = _look_at(source)
    _refuse_closed(source, tuple(closed))
    if not stat.S_ISDIR(status.st_mode):
        return Inputs((_input_file(source, member if member is not None else source.name, status),), is_folder=False)
    if member is not None:
        raise UsageError("a folder's files have the names they have", hint="leave out the member name")
    files = sorted(_walk(source, ""), key=lambda file: file.member)
    _refuse_odd_count(source, files)
    return Inputs(tuple(files), is_folder=True)


def open_input(file: InputFile) -> int:
    """Open a file for reading and return the descriptor. Raises Conflict if it is not the file that was looked at, StorageError."""
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(file.path, error) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) != file.identity:
        os.close(fd)
        raise Conflict(
            f"{str(file.path)!r} was replaced while it was being sealed", hint="let the other program finish, then try again"
        )
    return fd


def member_name(text: str, path: Path) -> str:
    """Return `text` in Unicode NFC if it can name a member. Raises InvalidName that names the file."""
    try:
        return check_member(unicodedata.normalize("NFC", text))
    except InvalidName as error:
        raise InvalidName(f"{str(path)!r} cannot be a member: {error.message}", hint="rename the file, then try again") from None


def is_within(path: Path, folder: Path) -> bool:
    """Say whether `path`, links resolved, is `folder` or lies in it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _look_at(path: Path) -> os.stat_result:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(path)!r}") from None
    except ValueError:
        raise InvalidName("a path holds no zero bytes") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise UsageError(
            f"{str(path)!r} is a symbolic link", hint="links are not followed: name the file it points to, or copy it in its place"
        )
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "not a file")
        raise UsageError(f"{str(path)!r} is {kind}", hint="seal regular files and folders; a stream goes through Workspace.writer")
    return status


def _walk(folder: Path, prefix: str) -> Iterator[InputFile]:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error
    for name in names:
        path, member = folder / name, prefix + name
        status = _look_at(path)
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, f"{member}/")
        else:
            yield _input_file(path, member, status)


def _input_file(path: Path, member: str, status: os.stat_result) -> InputFile:
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StorageError(f"cannot read {str(path)!r}: permission denied", hint="check its owner and mode")
    return InputFile(path, member_name(member, path), status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


def _refuse_odd_count(source: Path, files: list[InputFile]) -> None:
    if not files:
        raise UsageError(f"the folder {str(source)!r} holds no files", hint="a version needs at least one file; it may be empty")
    if len(files) > MEMBERS_LIMIT:
        raise UsageError(
            f"the folder {str(source)!r} holds {len(files)} files, over the limit of {MEMBERS_LIMIT} a version",
            hint="pack them into fewer, larger files (Parquet, tar), or seal subfolders under names of their own",
        )
    if len({file.member for file in files}) != len(files):
        raise InvalidName(f"two files in {str(source)!r} have names that differ only in Unicode form", hint="rename one of them")


def _refuse_closed(source: Path, closed: tuple[Path, ...]) -> None:
    for folder in closed:
        if is_within(source, folder):
            raise UsageError(
                f"{str(source)!r} lies in {str(folder)!r}, where Hermetic keeps its own files", hint="seal data, not the store"
            )
        if is_within(folder, source):
            raise UsageError(
                f"the folder {str(source)!r} holds {str(folder)!r}, where Hermetic keeps its own files",
                hint="seal the subfolder that holds the data",
            )


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot read {str(path)!r}: {(error.strerror or str(error)).lower()}", hint="check its owner and mode")
