"""What sealed:: tells of files at plain locations, and which it leaves out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermetic.assets.ground_errors import far_errors
from hermetic.integrations.listing import ExistingFile, Info
from hermetic.integrations.sealed_objects import Seen, is_side
from hermetic.stores.base import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


def described(path: str, seen: Seen) -> Info:
    """Return what `info` says of a file that was looked at."""
    found = seen.found
    if not seen.good:
        return {"name": path, "size": seen.stored, "type": "file", "problem": found.state}
    return {
        "name": path,
        "size": found.length,
        "type": "file",
        "asset": found.name,
        "version": found.version,
        "number": found.number,
        "mtime": found.published_ms / 1000,
    }


@contextmanager
def making(path: str) -> Iterator[None]:
    """Turn what a file system raises while it makes `path` into an error of ours."""
    with far_errors("make", path):
        try:
            yield
        except FileExistsError as error:
            raise ExistingFile(f"{path!r} exists") from error


def is_hidden(path: str) -> bool:
    """Whether listings leave a name out."""
    return is_side(path) or path.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def require_ours(seen: Seen) -> None:
    """Raise FormatError, IntegrityError for a file that this domain has not sealed."""
    if seen.found.state in {"plain", "foreign"}:
        seen.require()
