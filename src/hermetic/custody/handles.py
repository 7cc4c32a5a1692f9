"""The table of keys on their way from custody to a caller in the same process: a handle is a random name, good once."""

from __future__ import annotations

import secrets
import threading

from hermetic.crypto.secret import Secret  # noqa: TC001 - kept as a value
from hermetic.errors import LeaseEnded

LIMIT = 100_000


class HandleTable:
    """Handles to keys. Thread safe; never written anywhere, gone with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, Secret] = {}
        self._lock = threading.Lock()

    def put(self, key: Secret) -> str:
        """Keep a key and return its handle. Raises LeaseEnded when nobody has collected very many."""
        handle = secrets.token_urlsafe(16)
        with self._lock:
            if len(self._keys) >= LIMIT:
                raise LeaseEnded("too many keys wait to be collected")
            self._keys[handle] = key
        return handle

    def take(self, handle: str) -> Secret:
        """Return the key behind a handle and forget it. Raises LeaseEnded for an unknown or used handle."""
        with self._lock:
            key = self._keys.pop(handle, None)
        if key is None:
            raise LeaseEnded("this key was collected already, or never was here", hint="ask for the asset again")
        return key

    def forget(self, handle: str | None) -> None:
        """Wipe a key that will not be collected."""
        with self._lock:
            key = None if handle is None else self._keys.pop(handle, None)
        if key is not None:
            key.wipe()

    def wipe(self) -> None:
        """Wipe and forget whatever was not collected."""
        with self._lock:
            keys, self._keys = self._keys, {}
        for key in keys.values():
            key.wipe()
