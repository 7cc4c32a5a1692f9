"""`local:passphrase`: a random root, kept in `root-<id>.json` under a passphrase (`keys.passphrase_wrap` has the bytes).

    created    locked; the file is there, mode 0600
    unlock     for some seconds in the kernel keyring, for every process of this user; or for this process only
    lock       takes it out of both

Where there is no kernel keyring (containers, other systems), unlocking for this process is what remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import FormatError, HermeticError, Locked, Unsupported
from hermetic.keys.passphrase_wrap import PassphraseWrap, WrapSubject, passphrase_wrap
from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers import kernel_keyring, private_file
from hermetic.providers.local_root import LocalRoot, new_root, read_root_file, remove_root_file, root_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.kdf import Argon2Parameters
    from hermetic.crypto.secret import Secret
    from hermetic.providers.place import Asked, Place


class PassphraseRoot(LocalRoot):
    """A root that a person unlocks."""

    def __init__(self, uri: str, place: Place) -> None:
        super().__init__(uri, place)
        self._here: Secret | None = None

    def load_root(self) -> Secret:
        """Return the root that was unlocked for this process, else the one in the kernel keyring. Raises Locked."""
        if self._here is not None:
            return self._here
        try:
            return kernel_keyring.load(self.place)
        except Unsupported as error:
            raise Locked(f"root {self.root_id} is locked, and {error.message}", hint=error.hint) from None

    def unlock(self, ask: Callable[[], Secret], seconds: int) -> kernel_keyring.UnlockedRoot:
        """Ask for the passphrase and open the root for every process of this user, for `seconds`.

        Raises WrongKey (wrong passphrase), KeyServiceUnavailable (no file), IntegrityError (file changed), Unsupported (no kernel
        keyring), UsageError (seconds out of range).
        """
        return kernel_keyring.store(self.place, self._open(ask), seconds)

    def unlock_here(self, ask: Callable[[], Secret]) -> None:
        """Ask for the passphrase and open the root for this process only, until `lock`. Raises as `unlock`."""
        self._here = self._open(ask)

    def lock(self) -> bool:
        """Take the root away; returns whether it was unlocked."""
        here, self._here = self._here, None
        if here is not None:
            here.wipe()
        try:
            return kernel_keyring.remove(self.place) or here is not None
        except Unsupported:
            return here is not None

    def change_passphrase(self, ask: Callable[[], Secret], asked: Asked) -> None:
        """Open the file with the passphrase of `ask` and write it anew under that of `asked`; the root and all wraps stay.

        An older copy of the file still opens with the older passphrase. Raises as `unlock`, and StorageError.
        """
        root = self._open(ask)
        document = passphrase_wrap(root, asked.passphrase(), _subject(self.place), asked.parameters)
        private_file.write(root_path(self.place), document, replace=True)

    def costs(self) -> Argon2Parameters:
        """Return what a guess at the passphrase costs."""
        return self._file().parameters

    def status(self) -> ProviderStatus:
        """Say whether it is unlocked, and until when."""
        try:
            expires_ms = kernel_keyring.expiry(self.place)
        except HermeticError:
            expires_ms = None
        if self._here is not None:
            return self._status(ProviderState.READY, "unlocked for this process")
        if expires_ms is not None:
            return self._status(ProviderState.READY, "unlocked in the kernel keyring", expires_ms)
        try:
            self._file()
        except HermeticError as error:
            return self._status(ProviderState.UNREACHABLE, error.message)
        return self._status(ProviderState.LOCKED, "hermetic unlock")

    def _status(self, state: ProviderState, detail: str, expires_ms: int | None = None) -> ProviderStatus:
        return ProviderStatus(self.uri, self.root_id, state, detail, expires_ms)

    def _open(self, ask: Callable[[], Secret]) -> Secret:
        parsed = self._file()
        return parsed.open(ask())

    def _file(self) -> PassphraseWrap:
        parsed = PassphraseWrap.parse(read_root_file(self.place))
        if parsed.subject != _subject(self.place):
            raise FormatError(f"{root_path(self.place)} is the file of another root")
        return parsed


def open_(uri: str, place: Place) -> PassphraseRoot:
    """Return the provider of an existing root."""
    return PassphraseRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> PassphraseRoot:
    """Make a root, wrapped under the passphrase that `asked` gives; it stays locked. Raises Conflict, UsageError, StorageError."""
    root = new_root(asked)
    document = passphrase_wrap(root, asked.passphrase(), _subject(place), asked.parameters)
    private_file.write(root_path(place), document, replace=False)
    return PassphraseRoot(uri, place)


def remove(uri: str, place: Place) -> str:
    """Take the root out of the kernel keyring and wipe its file."""
    PassphraseRoot(uri, place).lock()
    return remove_root_file(place)


def _subject(place: Place) -> WrapSubject:
    return WrapSubject(place.domain, place.root_id, "root", "local-root")
