"""What fsspec is told about files and folders, and the errors it understands."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hermetic.errors import Conflict, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.integrations.attached import View

Info = dict[str, Any]
SHOWN = 5  # files in a hint


class MissingFile(NotFound, FileNotFoundError):
    """NotFound as libraries expect it of a file system."""


class NotOneFile(UsageError, IsADirectoryError):
    """UsageError as libraries expect it when a folder is opened as a file."""


class NoProject(NotFound):
    """There is no project to look in, which is not the same as that a file is missing."""


class ExistingFile(Conflict, FileExistsError):
    """Conflict as libraries expect it of a file system."""


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Turn NotFound inside the block into MissingFile, but for NoProject."""
    try:
        yield
    except (MissingFile, ExistingFile, NoProject):
        raise
    except NotFound as error:
        raise MissingFile(error.message, hint=error.hint) from error


def not_one_file(path: str, view: View) -> NotOneFile:
    """Return the error for a version, or a folder of one, that is opened as a file; with what to open instead."""
    shown = [f"hermetic://{view.name}@{view.number or 'latest'}/{member}" for member in sorted(view.members)[:SHOWN]]
    more = ", …" if len(view.members) > SHOWN else ""
    return NotOneFile(f"{path!r} is a folder of {view.name}, not one file", hint=f"say which: {', '.join(shown)}{more}")


def folder(path: str) -> Info:
    """Describe a folder."""
    return {"name": path, "size": 0, "type": "directory"}


def describe(path: str, view: View, member: str) -> Info:
    """Describe a version, or a file or folder of it. Raises FileNotFoundError."""
    chosen = member or view.single
    if chosen is not None and chosen in view.members:
        return {
            "name": path,
            "size": view.members[chosen],
            "type": "file",
            "version": view.version,
            "number": view.number,
            "mtime": view.published_ms / 1000,
        }
    if not view.holds(member):
        raise MissingFile(f"there is no {path!r}", hint=f"`hermetic show {view.name}` lists its members")
    return folder(path)


def children(path: str, view: View, member: str) -> list[Info]:
    """Describe what lies directly in a version or a folder of it, or the file itself. Raises FileNotFoundError."""
    own = describe(path, view, member)
    if own["type"] == "file":
        return [own]
    prefix = f"{member}/" if member else ""
    steps = sorted({prefix + path[len(prefix) :].partition("/")[0] for path in view.members if path.startswith(prefix)})
    base = path[: len(path) - len(member)].rstrip("/") if member else path
    return [describe(f"{base}/{step}", view, step) for step in steps]


def step_towards(path: str, name: str) -> str:
    """Return the path of the folder or asset directly in `path` on the way to `name`."""
    rest = name[len(path) + 1 :] if path else name
    head = rest.partition("/")[0]
    return f"{path}/{head}" if path else head
