"""Files that commands write: whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, NotFound, StorageError

if TYPE_CHECKING:
    from pathlib import Path


def check_new(path: Path) -> None:
    """Return if `write_new` could begin, before something is done that only the file will hold. Raises Conflict, NotFound."""
    if path.exists():
        raise Conflict(f"{path} exists already", hint="name another file, or remove it first")
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}", hint="make it first")


def write_new(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write `content` to `path` through a temporary name, synced. Raises Conflict if it exists (unless `replace`), StorageError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if not replace and path.exists():
            raise Conflict(f"{path} exists already", hint="name another file, or remove it first")
        try:
            _write_synced(temporary, content)
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # fails if the name was taken meanwhile
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise Conflict(f"{path} exists already", hint="name another file, or remove it first") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
