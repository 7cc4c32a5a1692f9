"""Every regular file below some paths, in order of name; no symbolic link is followed and nothing is fatal."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPECIAL = (
    (stat.S_ISLNK, "a symbolic link, not followed"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)
HIDDEN = "a hidden folder, not looked into"


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not looked at, and why. `unreadable` tells an error from a rule."""

    path: str
    reason: str
    unreadable: bool = False


def walk(start: str, *, hidden: bool) -> Iterator[str | Skipped]:
    """Yield the path of each regular file at or below `start`, and a Skipped for everything else that is no plain folder.

    Folders whose name starts with a dot are left out unless `hidden`. `start` itself is always looked at, also when it is a link.
    Raises NotFound if there is no `start`.
    """
    try:
        place = Path(start)
        target = str(place.resolve(strict=True)) if place.is_symlink() else start
        mode = Path(target).lstat().st_mode
    except OSError as error:
        raise NotFound(f"cannot scan {printable(start)}: {_reason(error)}") from error
    if stat.S_ISDIR(mode):
        yield from _below(start, hidden=hidden)
    else:
        yield target if stat.S_ISREG(mode) else Skipped(start, _special(mode))


def unreadable(path: str, error: OSError) -> Skipped:
    """Say that `path` could not be read."""
    return Skipped(path, f"cannot be read: {_reason(error)}", unreadable=True)


def printable(path: str) -> str:
    """Return the path so that it can be shown: control characters and bytes that are no text are escaped."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def _below(start: str, *, hidden: bool) -> Iterator[str | Skipped]:
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield unreadable(folder, error)
            continue
        folders: list[str] = []
        for entry in entries:
            if found := _entry(entry, folders, hidden=hidden):
                yield found
        waiting.extend(reversed(folders))


def _entry(entry: os.DirEntry[str], folders: list[str], *, hidden: bool) -> str | Skipped | None:
    """Return the file or what is wrong with it; a folder to look into goes to `folders` instead."""
    try:
        if entry.is_file(follow_symlinks=False):
            return entry.path
        if not entry.is_dir(follow_symlinks=False):
            return Skipped(entry.path, _special(entry.stat(follow_symlinks=False).st_mode))
    except OSError as error:
        return unreadable(entry.path, error)
    if entry.name.startswith(".") and not hidden:
        return Skipped(entry.path, HIDDEN)
    folders.append(entry.path)
    return None


def _special(mode: int) -> str:
    return next((reason for test, reason in _SPECIAL if test(mode)), "not a regular file")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
