"""Hints for those who use custody that runs elsewhere: what only its own user can do is said to be for whoever runs it.

>>> from hermetic.errors import Locked, NotFound
>>> hint_for(Locked("root 2q is locked", hint="hermetic unlock"))
'whoever runs custody: `hermetic unlock`'
>>> hint_for(NotFound("no asset is called dataset/x", hint="`hermetic ls` shows the names"))
'`hermetic ls` shows the names'

A hint is recognised by what it names, commands that work on custody's own files, its settings and its backup, or by the error: that a
root, a key service, a database or a disk of custody's does not work. What the caller can do about it, such as trying again, stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hermetic.errors import KeyServiceUnavailable, StorageError

if TYPE_CHECKING:
    from hermetic.errors import HermeticError

OWN_COMMANDS: Final = (
    r"\bhermetic (backup|restore|unlock|lock|migrate|serve|request notify|key (root|shares) (?!ls\b)\w|key (recover|escrow))\b"
)
_THERE: Final = re.compile(OWN_COMMANDS + r"|\bhermetic init\b|\bconfig\.yaml\b|\b(restore|open)\b.*\b(backup|root)\b")
_ANYBODY: Final = re.compile(
    r"(try again|run the command again|look at what is there|look before)\b|.*\bwhoever (runs custody|connects)\b"
)
WHO: Final = "whoever runs custody: "


def hint_for(error: HermeticError) -> str | None:
    """Return the hint of an error that custody elsewhere answered with, for its caller."""
    hint = error.hint
    if hint is None or _ANYBODY.match(hint):
        return hint
    if not isinstance(error, KeyServiceUnavailable | StorageError) and not _THERE.search(hint):
        return hint
    return WHO + (f"`{hint}`" if re.fullmatch(r"hermetic [a-z -]+", hint) else hint)
