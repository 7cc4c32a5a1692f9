"""Plaintext in a file, on purpose, on record and for a time (`expose`).

An exposure is recorded by custody before any byte is on disk. The bytes go into a file without a name (O_TMPFILE) where the file
system has that, so that a crash leaves nothing; elsewhere into `.hermetic-exposing-…` beside the target, which `end` removes too.
The target gets its name only when everything is there and verified, and never in place of another file. As after `cp`, the kernel
writes it to the disk in its own time: a file that a power cut has shortened is exposed again from what is sealed. The record does not
depend on that; it says that plaintext may lie there.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.releases import release, split_member
from hermetic.assets.session import now_ms
from hermetic.domain.listing import every
from hermetic.errors import Conflict, HermeticError, NotFound, StorageError, UsageError
from hermetic.formats.messages.catalogue import EndExposure, ExposureRow, ListExposures
from hermetic.formats.messages.versions import ExposureTerms
from hermetic.steps import reached
from hermetic.stores.base import hint_for
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Approval
    from hermetic.ids import Purpose

LONGEST_SECONDS = 366 * 24 * 3600
TEMPORARY = ".hermetic-exposing-"
BLOCKS_NOTE = "the file was unlinked; the file system may keep old blocks of it, and copies made meanwhile are not known here"


def expose(  # noqa: PLR0913 - what an exposure can be told, all by keyword
    session: Session,
    ref: str,
    target: Path,
    *,
    seconds: int,
    member: str | None = None,
    purpose: Purpose | str | None = None,
    run: str | None = None,
    approvals: tuple[Approval, ...] = (),
    threads: int | None = None,
) -> ExposureRow:
    """Put a member's plaintext into the new file `target` (mode 0600) and return the record of it. See Workspace.expose.

    `threads` is how many decrypt, by default as many as a reader uses.
    """
    place = _checked_target(session, target)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError("an exposure lasts between a second and a year", hint="write for example --for 2h")
    bare, member = split_member(ref, member)
    terms = ExposureTerms(str(place), now_ms() + seconds * 1000)
    (version,) = release(session, (bare,), purpose=purpose, run=run, exposure=terms, approvals=approvals)
    with version, ExitStack() as undo:
        undo.callback(_end_quietly, session, place)
        _write_target(version, member, place, threads=threads)
        undo.pop_all()
    return _find(session, place)


def end(session: Session, path: Path) -> ExposureRow:
    """Remove the exposed file, then record that it is gone. A file that is missing already is fine. Raises NotFound, StorageError."""
    place = _absolute(path)
    row = _find(session, place)
    for leftover in (place, place.with_name(TEMPORARY + row.id)):
        _remove(leftover)
    reached("expose.file.removed")
    return session.ask(EndExposure(str(place)))


def _checked_target(session: Session, target: Path) -> Path:
    place = _absolute(target)
    if not place.parent.is_dir():
        raise NotFound(f"there is no folder {str(place.parent)!r}")
    if any(place.is_relative_to(os.path.realpath(folder)) for folder in session.closed_folders()):
        raise UsageError(f"{str(place)!r} lies where Hermetic keeps its own files", hint="choose a folder outside the store")
    if os.path.lexists(place):
        raise Conflict(f"{str(place)!r} exists", hint="exposing never overwrites; choose another name, or remove it first")
    return place


def _absolute(path: Path) -> Path:
    """Return `path` absolute, links in its folder resolved, its last part as it is."""
    if path.name in {"", ".."}:
        raise UsageError("the target is a folder", hint="name a file")
    return Path(os.path.realpath(path.parent)) / path.name


def _write_target(version: OpenVersion, member: str | None, place: Path, *, threads: int | None) -> None:
    with _storage_errors(place), ExitStack() as stack:
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        fd, name = stack.enter_context(_unnamed(folder, TEMPORARY + (version.opened.exposure or "")))
        with version.reader(version.member(member)) as reader:
            reader.expose_to(fd, threads=threads)
        version.leased.guard()
        reached("expose.file.verified")
        _name(fd, name, folder, place.name)
        reached("expose.file.named")


@contextmanager
def _unnamed(folder: int, fallback: str) -> Iterator[tuple[int, str | None]]:
    """Lend (descriptor, None) of a file without a name in `folder`, or (descriptor, temporary name) where there is no such thing."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}:
            raise
        fd = os.open(fallback, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            yield fd, fallback
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(fallback, dir_fd=folder)
        return
    try:
        yield fd, None
    finally:
        os.close(fd)


def _name(fd: int, temporary: str | None, folder: int, name: str) -> None:
    """Link the file under its name; link(2) never replaces."""
    if temporary is None:
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder, follow_symlinks=True)
    else:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)


@contextmanager
def _storage_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise Conflict(f"{str(place)!r} exists", hint="exposing never overwrites; choose another name, or remove it first") from None
    except OSError as error:
        raise StorageError(
            f"cannot write {str(place)!r}: {(error.strerror or str(error)).lower()}", hint="nothing was left there"
        ) from error


def _end_quietly(session: Session, place: Path) -> None:
    """Close the record of an exposure that failed, once it is durable that nothing lies there; else it stays open, the safe side."""
    with suppress(HermeticError, OSError):
        sync_folder(place.parent)
        session.ask(EndExposure(str(place)))


def _remove(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise Conflict(f"{str(path)!r} is no regular file any more", hint="find out what happened to the exposed file")
        path.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot remove {str(path)!r}: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error


def _find(session: Session, place: Path) -> ExposureRow:
    found: tuple[ExposureRow, ...] = every(session.ask, ListExposures(ended=False), "exposures")
    for row in reversed(found):
        if row.path == str(place):
            return row
    raise NotFound(f"no exposure of {str(place)!r} is on record", hint="`hermetic expose` lists exposures")
