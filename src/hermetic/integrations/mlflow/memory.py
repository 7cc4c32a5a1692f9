"""Folders in memory for what MLflow wants as files: its temporary files, and artifacts that are downloaded.

A folder is on a tmpfs and only this user's (mode 0700). It is removed when what it was made for ends: a block, a run of Hermetic's,
the process. What a killed process leaves there is memory still, and the next of these folders, or the next `hermetic run`, removes it.
Memory may be swapped out, which `hermetic run` reports.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.private_tmp import PREFIX, is_in_memory, memory_folder
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

HINT = "start the program with `hermetic run NAME -- …`, or call hermetic.integrations.mlflow.keep_in_memory() before"
_MADE_BY_TEMPFILE = re.compile(r"tmp[a-z0-9_]{8}")

_lock = threading.Lock()
_folders: dict[int, Path] = {}  # by process: where downloads go when no block and no run gives a place


def keep_in_memory() -> ExitStack:
    """Put temporary files of this process, and of those that it starts, into memory: for a `with` block, or until the process ends.

    It sets TMPDIR and tempfile.tempdir, which every thread of the process sees. Inside `hermetic run` there is nothing to do.
    Raises Unsupported where there is no tmpfs.
    """
    stack = ExitStack()
    if private() is None:
        stack.enter_context(_temporary_in(stack.enter_context(memory_folder())))
        _at_end(stack)
    return stack


def private() -> Path | None:
    """Return the folder of temporary files if it is one of ours in memory."""
    folder = Path(tempfile.gettempdir())
    return folder if folder.name.startswith(PREFIX) and is_in_memory(folder) else None


def new_folder() -> str:
    """Make a folder in memory for a download. Raises Unsupported where there is no tmpfs."""
    return tempfile.mkdtemp(prefix="artifacts-", dir=private() or _of_this_process())


def refuse_made_on_disk(path: Path) -> None:
    """Raise UsageError if a file or folder is one that was made for a moment, on a disk: MLflow puts there what it is about to log."""
    place, temporary = Path(os.path.realpath(path)), Path(os.path.realpath(tempfile.gettempdir()))
    inside = place.relative_to(temporary).parts if place.is_relative_to(temporary) else ()
    if inside and _MADE_BY_TEMPFILE.fullmatch(inside[0]) and place.exists() and not is_in_memory(place):
        raise UsageError(f"{place.name!r} was written to a disk in plaintext before it was to be sealed", hint=HINT)


def refuse_on_disk(folder: Path) -> None:
    """Raise UsageError if a folder to download into is on a disk."""
    if not lies_in_memory(folder):
        raise UsageError(
            f"downloading to {str(folder)!r} would leave plaintext on a disk unrecorded",
            hint=f"name no folder: downloads go to memory; or {HINT}; or `hermetic expose ASSET FOLDER --for 2h`",
        )


def lies_in_memory(path: Path) -> bool:
    """Whether a file or folder is in memory, links followed, or would be if it were made."""
    existing = Path(os.path.realpath(path))
    while not existing.exists():
        existing = existing.parent
    return is_in_memory(existing)


@contextmanager
def _temporary_in(folder: Path) -> Iterator[None]:
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir, os.environ["TMPDIR"] = str(folder), str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = variable


def _of_this_process() -> Path:
    with _lock:
        if os.getpid() not in _folders:
            stack = ExitStack()
            _folders[os.getpid()] = stack.enter_context(memory_folder())
            _at_end(stack)
        return _folders[os.getpid()]


def _at_end(stack: ExitStack) -> None:
    """Close it when this process ends; a forked child has it too, and does not own it."""
    owner = os.getpid()
    atexit.register(lambda: stack.close() if os.getpid() == owner else None)


def _start_over() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_over)
