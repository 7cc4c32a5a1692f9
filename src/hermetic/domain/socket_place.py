"""Whether nobody but its owner, the administrator and oneself can put a socket at a path, or anything in its place.

A socket that is not there cannot be told from one that is not there yet: whoever can write a folder on the way can put one of their
own, and answer. So every folder on the way has to belong to root, to the owner of the socket or to the caller, and nobody else may
write it. In a folder like /tmp, where each may remove only what is theirs (sticky), folders of the trusted are safe, but a socket
would not be: while custody is away anybody makes one of that name. Symbolic links are followed the same way, step by step.

What is trusted cannot be exchanged by others between this look and the connection; the kernel then says who answers.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from hermetic.errors import Denied, UsageError

LINKS: Final = 40  # symbolic links on the way, as in the kernel


def checked_place(path: Path) -> int:
    """Return to whom the socket belongs. Raises OSError (none there), Denied where others could have put it, UsageError."""
    if not path.is_absolute():
        raise UsageError("the path of custody's socket is absolute", hint="HERMETIC_URL=unix:/run/hermetic/custody.sock")
    facts = path.lstat()
    if not stat.S_ISSOCK(facts.st_mode):
        raise Denied(f"{path} is not a socket", hint="HERMETIC_URL names the socket of `hermetic serve`")
    check_folders(path.parent, frozenset({0, os.geteuid(), facts.st_uid}))
    return facts.st_uid


def check_folders(folder: Path, trusted: frozenset[int]) -> None:
    """Raise Denied unless only the `trusted` can put something into `folder`, or another folder in its place. Raises OSError."""
    left, at, links = list(reversed(folder.parts[1:])), Path("/"), 0
    _check(at, os.lstat(at), trusted, last=not left)
    while left:
        name = left.pop()
        at = at.parent if name == ".." else at / name
        facts = os.lstat(at)
        if not stat.S_ISLNK(facts.st_mode):
            _check(at, facts, trusted, last=not left)
            continue
        links += 1
        if links > LINKS or facts.st_uid not in trusted:
            raise Denied(f"{at} is a link that others made, or one of too many", hint="name the folder itself")
        target = at.readlink()
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = Path("/") if target.is_absolute() else at.parent


def _check(folder: Path, facts: os.stat_result, trusted: frozenset[int], *, last: bool) -> None:
    if facts.st_uid not in trusted:
        raise Denied(f"{folder} belongs to another user, who could put a socket of their own there", hint="ask who runs custody here")
    others = stat.S_IMODE(facts.st_mode) & 0o022
    if others and (last or not facts.st_mode & stat.S_ISVTX):
        hint = "use a folder of custody's own" if facts.st_mode & stat.S_ISVTX else f"chmod go-w {folder}"
        raise Denied(f"others can write {folder}, and put a socket of their own there", hint=hint)
