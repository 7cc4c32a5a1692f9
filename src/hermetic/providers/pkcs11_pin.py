"""The PIN, from the file that `pin_file` names; and the promise that a wrong one is tried once.

A token counts wrong PINs and locks itself after a few, often for good. So a PIN that was refused is not tried again, in this process
or another, until its file changes: `pin-refused-….json` in the custody home says which file it was (device, inode, time, size; nothing
of the PIN). Processes that start at once try one after the other. And nobody but a person takes the last try (`pkcs11_token`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermetic.errors import HermeticError, IntegrityError, KeyServiceUnavailable, Locked, NotFound, StorageError, UsageError
from hermetic.formats import canonical
from hermetic.keys import documents
from hermetic.providers import private_file
from hermetic.providers.settings import secret_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.crypto.secret import Secret
    from hermetic.providers.place import Place

FORMAT: Final = "hermetic/pin-refused/v1"
_LIMIT: Final = 1024


class Pin:
    """Where the PIN of a token is read."""

    def __init__(self, uri: str, place: Place, value: str) -> None:
        """Raises ConfigError for a relative path."""
        self.path = Path(value)
        self._ask = secret_file(uri, "pin_file", value)
        self._mark = place.home / mark_name(self.path)

    def leave_none(self) -> None:
        """Forget an earlier refusal where it is all that a custody home holds: what did not begin leaves nothing."""
        if [path.name for path in self._mark.parent.iterdir()] == [self._mark.name]:
            self.forget()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes with this PIN file waiting, so that they see what became of the PIN. Raises KeyServiceUnavailable."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> Secret:
        """Return the PIN. Raises Locked (refused before, or no PIN in there), KeyServiceUnavailable (no file), IntegrityError."""
        if self._refused() == self._state():
            raise Locked(
                f"the token refused the PIN in {self.path}; it is not tried again", hint=f"write the right PIN into {self.path}"
            )
        try:
            return self._ask()
        except UsageError as error:
            raise Locked(error.message, hint=f"write the PIN into {self.path}, one line") from None
        except StorageError as error:
            raise KeyServiceUnavailable(error.message, hint=error.hint) from None

    def refused(self) -> None:
        """Remember that the token refused this PIN."""
        document = canonical.encode({"file": self._state(), "format": FORMAT})
        private_file.write(self._mark, document, replace=True)

    def forget(self) -> None:
        """Forget an earlier refusal."""
        with contextlib.suppress(OSError):
            self._mark.unlink(missing_ok=True)

    def _unreadable(self, error: OSError) -> KeyServiceUnavailable:
        told = f"the PIN file {self.path} cannot be read: {error.strerror or error}"
        return KeyServiceUnavailable(told, hint="`pin_file` in config.yaml names it")

    def _state(self) -> str:
        try:
            info = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from None
        return f"{info.st_dev}:{info.st_ino}:{info.st_mtime_ns}:{info.st_size}"

    def _refused(self) -> str | None:
        try:
            raw = private_file.read(self._mark, _LIMIT)
        except NotFound:
            return None
        except (IntegrityError, StorageError) as error:
            raise KeyServiceUnavailable(
                f"whether the PIN was refused cannot be read: {error.message}", hint=f"look at {self._mark}, then remove it"
            ) from None
        try:
            return documents.parse(raw, FORMAT, {"file", "format"}, limit=_LIMIT).text("file", limit=200)
        except HermeticError:
            raise KeyServiceUnavailable(f"{self._mark} is damaged", hint="make sure that the PIN is right, then remove it") from None


def mark_name(path: Path) -> str:
    """Return the name of the file that says that the PIN in `path` was refused."""
    return f"pin-refused-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"
