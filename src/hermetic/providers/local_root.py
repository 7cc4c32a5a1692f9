"""What all local roots share: wrapping with AES-256-GCM under a key derived from the root.

    key       HKDF-Expand-SHA-384(root, "hermetic/v1/root/wrap" LF root id, 32)
    wrapped   "HRW" 01 || nonce (12) || AES-256-GCM(key, secret) || tag (16)
    aad       "HRW" 01 || context

One root makes a few wraps per KEK version and signing key, far from the 2^31 at which random nonces would need counting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from hermetic.crypto import aead
from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, NotFound, StorageError, UsageError, WrongKey
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT
from hermetic.providers import private_file

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.keys.provider import RootId
    from hermetic.providers.place import Asked, Place

ROOT: Final = 32
FILE_LIMIT: Final = 4096
_MARKER: Final = b"HRW\x01"
_OVERHEAD: Final = len(_MARKER) + aead.OVERHEAD


class LocalRoot(ABC):
    """A provider whose root passes through this process; `load_root` says where it comes from."""

    def __init__(self, uri: str, place: Place) -> None:
        self._uri, self.place = uri, place

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self.place.root_id

    @abstractmethod
    def load_root(self) -> Secret:
        """Return the root itself, 32 bytes: for wrapping here and for the recovery wrap of a backup, nothing else."""

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed under the root, bound to `context`."""
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
        return _MARKER + aead.seal(self._key(), secret.view(), _MARKER + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret."""
        if not _OVERHEAD < len(wrapped) <= _OVERHEAD + SECRET_LIMIT or not wrapped.startswith(_MARKER):
            raise FormatError("not a wrap of a local root: wrong length or marker")
        key = self._key()
        try:
            return Secret(aead.open_(key, wrapped[len(_MARKER) :], _MARKER + context))
        except WrongKey:
            raise WrongKey(
                f"a wrapped key does not open under root {self.root_id}",
                hint="it was changed, or belongs to another root or place: `hermetic log verify`, then restore a backup",
            ) from None

    def _key(self) -> Secret:
        root = self.load_root()
        if len(root) != ROOT:
            raise IntegrityError(f"root {self.root_id} has {len(root)} bytes, expected {ROOT}")
        return derive(root, "root/wrap", self.root_id.encode("ascii"))


def root_path(place: Place) -> Path:
    """Return where a root that lies in a file lies: `root-<root id>.json` in the custody home."""
    return place.home / f"root-{place.root_id}.json"


def read_root_file(place: Place) -> bytes:
    """Return the root file. Raises KeyServiceUnavailable when it cannot be read, IntegrityError when others could write or read it."""
    try:
        return private_file.read(root_path(place), FILE_LIMIT)
    except (NotFound, StorageError) as error:
        raise KeyServiceUnavailable(
            f"root {place.root_id} cannot be read: {error.message}", hint="put the root file back from a backup, or recover"
        ) from None


def remove_root_file(place: Place) -> str:
    """Wipe the file of a root, and what a crash left of writing it; returns what became of it."""
    left = private_file.wipe_leftovers(root_path(place))
    return "its file was overwritten and removed" if private_file.wipe(root_path(place)) or left else "its file was gone already"


def new_root(asked: Asked) -> Secret:
    """Return the root to keep: the one that was brought, else a random one. Raises UsageError for one of the wrong length."""
    root = Secret.random(ROOT) if asked.root is None else asked.root
    if len(root) != ROOT:
        raise UsageError(f"a root has {ROOT} bytes")
    return root
