"""Files that fsspec wants to copy out of hermetic:// (`get`, `simplecache::`): into memory only, never unrecorded onto a disk."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermetic.assets.private_tmp import is_in_memory
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def refuse_disk(exposable: Callable[[], str], target: Any) -> None:
    """Raise UsageError if `target`, a path or an open file, lies on a disk. A tmpfs is memory, and so is a file without descriptor.

    `exposable` gives what `hermetic expose` takes, for the hint.
    """
    place = _place(target)
    if place is None or is_in_memory(_existing(place)):
        return
    source, shown = exposable(), shlex.quote(str(place))
    raise UsageError(
        f"copying {source} to {shown} would leave plaintext on disk unrecorded",
        hint=f"read the URL itself; or hermetic expose {source} {shown} --for 2h. Inside `hermetic run`, tempfile's folder is memory",
    )


def _place(target: Any) -> Path | None:
    if isinstance(target, str | os.PathLike):
        return Path(target).absolute()
    try:
        descriptor = target.fileno()
    except (AttributeError, OSError):
        return None
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return Path(f"/proc/self/fd/{descriptor}").readlink() if regular else None


def _existing(place: Path) -> Path:
    """Return the nearest folder that is there: where the file would be made, links followed."""
    folder = Path(os.path.realpath(place))
    while not folder.exists():
        folder = folder.parent
    return folder
