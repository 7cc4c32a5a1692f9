"""Members as files in memory, for loaders that take nothing but a path: GGUF, ONNX Runtime, joblib, folders of a model.

Each is a memfd (memfd_create(2)): it has no name on any disk, is sealed against every change once it is filled, is not inherited by
programs started meanwhile, and is gone when the block ends and nobody maps it any more. Its path is a link in a private folder, under
the member's own name for loaders that look at the ending, and leads to /proc/PID/fd/N: only those processes of this user that may look
into this one can follow it. Swap takes pages of it as of any other memory.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hermetic.assets.releases import release, split_member
from hermetic.errors import StorageError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Approval
    from hermetic.formats.messages.versions import Member
    from hermetic.ids import Purpose


@contextmanager
def memory_path(
    session: Session,
    ref: str,
    *,
    member: str | None = None,
    purpose: Purpose | str | None = None,
    run: str | None = None,
    approvals: tuple[Approval, ...] = (),
) -> Iterator[Path]:
    """Give the path of a member, or of a folder of all members, in memory for the block. See Workspace.memory_path."""
    bare, chosen = split_member(ref, member)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermetic-")))
        with release(session, (bare,), purpose=purpose, run=run, approvals=approvals)[0] as version:
            whole = chosen is None and len(version.members) > 1
            wanted = version.members if whole else (version.member(chosen),)
            for each in wanted:
                link = folder / (each.path if whole else PurePosixPath(each.path).name)
                _link(link, _filled(stack, version, each))
        yield folder if whole else link


def _link(link: Path, fd: int) -> None:
    """Raises StorageError where a folder would stand in a file's place, or a name is longer than names may be."""
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
    except OSError as error:
        hint = "ask for one member alone: member=…"
        raise StorageError(f"{link.name[:100]!r} cannot stand in a folder: {error.strerror}", hint=hint) from None


def _filled(stack: ExitStack, version: OpenVersion, member: Member) -> int:
    """Return a memfd that holds the member and can no longer change; `stack` closes it."""
    create = getattr(os, "memfd_create", None)
    if create is None:
        raise Unsupported("this system has no files in memory", hint="give the loader an open file: h.open(…)")
    try:
        fd: int = create("hermetic", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise StorageError(
            f"no file in memory could be made: {error.strerror}", hint="raise the limits of memory and open files"
        ) from error
    stack.callback(os.close, fd)
    with version.reader(member) as reader:
        reader.expose_to(fd, write_behind=False)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd
