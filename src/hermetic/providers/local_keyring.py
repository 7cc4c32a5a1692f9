"""`local:keyring`: a random root in the desktop keyring (Secret Service, KWallet, macOS Keychain, Windows), extra `keyring`.

The entry is service `hermetic`, user `<domain id>:<root id>`, and its password is the root as base64url. The desktop locks and unlocks
it with the session; `lock` only makes this process forget its copy. Backends that keep secrets in plain files, or nowhere, are
refused: they would look like protection.

The root is read once and kept until `lock` or the end of the process, since every reading is a round trip over D-Bus.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, FormatError, HermeticError, KeyServiceUnavailable, Locked, Unsupported
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers.local_root import ROOT, LocalRoot, new_root
from hermetic.providers.registry import load_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.providers.place import Asked, Place

SERVICE: Final = "hermetic"
_REFUSED_MODULES: Final = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt.")
_FOREIGN: Final = (("secretstorage.exceptions", "SecretStorageException"), ("jeepney.wrappers", "DBusErrorResponse"))


class Backend(Protocol):
    """What is used of `keyring.backend.KeyringBackend`."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return an entry or None."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep an entry."""

    def delete_password(self, service: str, username: str) -> None:
        """Delete an entry."""


class KeyringRoot(LocalRoot):
    """A root in the desktop keyring."""

    def __init__(self, uri: str, place: Place, backend: Backend | None = None) -> None:
        super().__init__(uri, place)
        self._backend = backend
        self._root: Secret | None = None

    def load_root(self) -> Secret:
        """Return the root. Raises Locked (keyring locked), KeyServiceUnavailable (no keyring, no entry), FormatError, Unsupported."""
        if self._root is None:
            self._root = self._read()
        return self._root

    def lock(self) -> bool:
        """Forget the copy of this process; returns whether there was one."""
        root, self._root = self._root, None
        if root is not None:
            root.wipe()
        return root is not None

    def keep(self, root: Secret) -> None:
        """Put a new root into the keyring and read it back. Raises Conflict if there is one, and as `load_root`."""
        with _translated():
            if self._desktop().get_password(SERVICE, self._user()) is not None:
                raise Conflict(f"the keyring holds root {self.root_id} already")
            self._desktop().set_password(SERVICE, self._user(), to_base64url(bytes(root.view())))
        if not self._read().same_as(root):
            raise KeyServiceUnavailable("the desktop keyring does not give back what it was given")

    def delete(self) -> bool:
        """Delete the entry; returns whether there was one. Raises as `load_root`."""
        self.lock()
        with _translated():
            if self._desktop().get_password(SERVICE, self._user()) is None:
                return False
            self._desktop().delete_password(SERVICE, self._user())
        return True

    def status(self) -> ProviderStatus:
        """Say whether the keyring gives the root. This may make the desktop ask to be unlocked."""
        state, detail = ProviderState.READY, "in the desktop keyring"
        try:
            self.load_root()
        except Locked as error:
            state, detail = ProviderState.LOCKED, error.message
        except HermeticError as error:
            state, detail = ProviderState.UNREACHABLE, error.message
        return ProviderStatus(self.uri, self.root_id, state, detail)

    def _read(self) -> Secret:
        with _translated():
            text = self._desktop().get_password(SERVICE, self._user())
        if text is None:
            raise KeyServiceUnavailable(
                f"the desktop keyring has no root {self.root_id}", hint="log in as the user who made it, or recover the root"
            )
        try:
            return Secret(from_base64url(text, length=ROOT))
        except FormatError:
            raise FormatError(f"the desktop keyring holds something else under root {self.root_id}") from None

    def _desktop(self) -> Backend:
        if self._backend is None:
            self._backend = check_backend(load_extra("keyring", "keyring").get_keyring())
        return self._backend

    def _user(self) -> str:
        return f"{self.place.domain}:{self.root_id}"


def open_(uri: str, place: Place) -> KeyringRoot:
    """Return the provider of an existing root; touches the keyring when it is used."""
    return KeyringRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> KeyringRoot:
    """Make a root in the desktop keyring. Raises Conflict, Locked, KeyServiceUnavailable, Unsupported."""
    provider = KeyringRoot(uri, place)
    provider.keep(new_root(asked))
    return provider


def remove(uri: str, place: Place) -> str:
    """Delete the entry. Raises Locked, KeyServiceUnavailable, Unsupported."""
    return "its entry in the desktop keyring was deleted" if KeyringRoot(uri, place).delete() else "its entry was gone already"


def check_backend(backend: Any) -> Any:
    """Return a `keyring` backend that protects what it keeps. Raises Unsupported for one that does not.

    Refused are `fail`, `null`, everything of `keyrings.alt` (plain or home-grown files), whatever calls itself plaintext, and what
    its author ranks below 1, which `keyring` calls not recommended. Of a chain, all members have to pass.
    """
    chained = list(getattr(backend, "backends", ()))
    for one in chained or [backend]:
        kind = type(one)
        name = f"{kind.__module__}.{kind.__qualname__}"
        with _translated():
            ranked = one.priority >= 1
        if not ranked or name.startswith(_REFUSED_MODULES) or "plaintext" in name.lower():
            raise Unsupported(
                f"the keyring here ({name}) does not protect what it keeps",
                hint="start a desktop keyring (gnome-keyring, KWallet), or use --root local:passphrase",
            )
    return backend


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what keyring, SecretStorage and D-Bus raise into our errors."""
    errors = load_extra("keyring.errors", "keyring")
    try:
        yield
    except errors.KeyringLocked:
        raise Locked("the desktop keyring is locked", hint="unlock the keyring of your desktop session") from None
    except (errors.KeyringError, OSError, RuntimeError, *_foreign()) as error:
        raise KeyServiceUnavailable(
            f"the desktop keyring cannot be reached: {type(error).__name__}", hint="is a desktop session with a keyring running?"
        ) from None


def _foreign() -> list[type[BaseException]]:
    found: list[type[BaseException]] = []
    for module, name in _FOREIGN:
        with contextlib.suppress(ImportError):
            found.append(getattr(importlib.import_module(module), name))
    return found
