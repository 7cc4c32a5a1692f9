"""The one type that holds key material.

A `Secret` owns a private copy of its bytes, never shows them in `repr`, refuses `pickle`, `copy` and JSON, compares
only through `same_as` (in constant time), and overwrites its bytes on `wipe` and when it is collected. Copies that Python
or OpenSSL make on the way remain possible; `docs/limitations.md` says so.
"""

from __future__ import annotations

import hmac
import os
from typing import NoReturn, Self

from hermetic.errors import UsageError


class _Wiping(bytearray):
    """Bytes that are overwritten when nobody holds them any more: a view keeps them alive, so a temporary Secret can be read."""

    __slots__ = ()

    def __del__(self) -> None:
        self[:] = bytes(len(self))


class Secret:
    """Key bytes. `view()` lends a read-only memoryview to the primitives; it must not be kept."""

    __slots__ = ("__weakref__", "_data")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = _Wiping(data)

    @classmethod
    def random(cls, length: int = 32) -> Self:
        """Return `length` fresh random bytes from the operating system."""
        return cls(os.urandom(length))

    def view(self) -> memoryview:
        """Lend the bytes. Raises UsageError after `wipe`."""
        if not self._data:
            raise UsageError("this secret was wiped")
        return memoryview(self._data).toreadonly()

    def wipe(self) -> None:
        """Forget the bytes, which are overwritten with zeros: at once, or once nobody works with a view of them any more.

        Zeros under somebody's hands would be a key that everybody knows.
        """
        self._data = _Wiping()

    def __len__(self) -> int:
        return len(self._data)

    def same_as(self, other: Secret) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self._data, other._data)

    def __repr__(self) -> str:
        return "<Secret withheld>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a Secret cannot be pickled or copied", hint="ask custody again in the other process")
