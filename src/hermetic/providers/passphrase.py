"""Reading a passphrase from a file. Prompts belong to the command line, which passes a callable; nothing else is a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto.secret import Secret
from hermetic.errors import UsageError
from hermetic.providers import private_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 1024  # bytes


def from_file(path: Path) -> Callable[[], Secret]:
    """Return a callable that reads the passphrase from `path`: the whole file without one final line end.

    The callable raises UsageError for an empty passphrase or one with several lines, and as `private_file.read` (mode 0600 or
    stricter, owned by this user or root, no symbolic link).
    """

    def ask() -> Secret:
        raw = bytearray(private_file.read(path, LIMIT + 2))
        for end in (b"\n", b"\r"):
            if raw.endswith(end):
                del raw[-1:]
        if not raw or b"\n" in raw:
            raise UsageError(f"{path} does not hold a passphrase of one line")
        return Secret(raw)

    return ask
