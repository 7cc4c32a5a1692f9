"""A root that is only in this process: what a recovery passphrase has just opened. No URI leads here; a restore makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers.local_root import LocalRoot

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.providers.place import Place


class MemoryRoot(LocalRoot):
    """A provider around a root that somebody brought."""

    def __init__(self, uri: str, place: Place, root: Secret) -> None:
        super().__init__(uri, place)
        self._root = root

    def load_root(self) -> Secret:
        """Return the root."""
        return self._root

    def status(self) -> ProviderStatus:
        """Say that it is open, for as long as the process lives."""
        return ProviderStatus(self.uri, self.root_id, ProviderState.READY, "in this process only")
