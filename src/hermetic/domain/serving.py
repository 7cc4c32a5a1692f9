"""Custody for other users of this machine (enforcement level `separated`): the embedded port, asked in their names.

Custody runs as a user of its own, in a project of its own that only says which domain it is; root, database and log are that user's.
What a caller may do is what the policy in force gives to the user that the kernel vouches for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.domain.connect import keep
from hermetic.domain.local import LocalPort
from hermetic.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from hermetic.crypto.secret import Secret
    from hermetic.formats.messages.base import Request


class SeparatedCustody:
    """Custody as a service of this machine answers with. Thread safe. Close it at the end."""

    def __init__(self, start: Path, *, ask_passphrase: Callable[..., Secret] | None = None) -> None:
        """Open custody of the project around `start`. Raises as `connect.keep`."""
        self._connection = keep(start, ask_passphrase=ask_passphrase)
        port = self._connection.port
        if not isinstance(port, LocalPort):
            self._connection.close()
            raise Unsupported("custody runs elsewhere", hint="unset HERMETIC_URL")
        self._port = port
        self.domain = self._connection.project.domain

    def ask_for(self, user: int, request: Request[Any]) -> object:
        """Answer a request of the operating-system user `user`. Raises HermeticError."""
        return self._port.ask_for(user, request)

    def close(self) -> None:
        """Close custody."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
