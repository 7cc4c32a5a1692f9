"""`recovery:shares/ID` and `recovery:escrow/ID`: roots to which everybody can wrap, and which nobody here opens.

The custody home holds the public key (`keys.recovery_root` has the file); whoever recovers brings the private one, from SLIP-39
shares or an escrow key, into the memory of one process. So a domain has one more root, and every KEK, signing key and the domain
secret a slot under it, without anything lying around that would open them.

    wrapped   "HRS" 01 || enc (1120) || ciphertext || tag (16)             HPKE to X25519 with ML-KEM-768 (crypto.hpke)
    info      "hermetic/v1/recovery-wrap" LF || "HRS" 01 || context

`wrap` needs the public key only. `unwrap` raises Locked until `unlock_with` has brought the private key. The public key is checked
against the URI, which holds its hash, each time it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.crypto import hpke
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable, Locked, UsageError, WrongKey
from hermetic.formats.findings import Finding
from hermetic.keys import recovery_root
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, ProviderState, ProviderStatus
from hermetic.keys.recovery_root import RecoveryRootFile
from hermetic.providers import private_file
from hermetic.providers.local_root import read_root_file, root_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.crypto.hpke import PrivateKey
    from hermetic.crypto.secret import Secret
    from hermetic.keys.provider import Provider, RootId
    from hermetic.providers.conformance import Protection
    from hermetic.providers.place import Asked, Place

HOLDERS: Final = {"shares": "recovery shares", "escrow": "its escrow key"}
_MARKER: Final = b"HRS\x01"
_INFO: Final = b"hermetic/v1/recovery-wrap\n" + _MARKER
_OVERHEAD: Final = len(_MARKER) + hpke.OVERHEAD


class RecoveryRoot:
    """A provider that wraps always and unwraps once a private key is here. `private` may be given at once, by whoever recovers."""

    def __init__(self, uri: str, place: Place, private: PrivateKey | None = None) -> None:
        self._uri, self.place, self._private = uri, place, private

    @property
    def uri(self) -> str:
        """How the provider was named."""
        return self._uri

    @property
    def root_id(self) -> RootId:
        """The root it holds."""
        return self.place.root_id

    def wrap(self, secret: Secret, context: bytes) -> bytes:
        """Return `secret` sealed to the root's public key, bound to `context`."""
        if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
            raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
        public = self.file().public if self._private is None else self._private.public
        return _MARKER + hpke.seal(public, secret.view(), _INFO + context)

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Return the secret. Raises Locked while the private key is not here."""
        if not _OVERHEAD < len(wrapped) <= _OVERHEAD + SECRET_LIMIT or not wrapped.startswith(_MARKER):
            raise FormatError("not a wrap of a recovery root: wrong length or marker")
        if self._private is None:
            raise Locked(
                f"root {self.root_id} needs {HOLDERS[_holder(self._uri)]}", hint="`hermetic key recover` opens a backup copy with it"
            )
        try:
            return self._private.open(wrapped[len(_MARKER) :], _INFO + context)
        except WrongKey:
            raise WrongKey(
                f"a wrapped key does not open under root {self.root_id}",
                hint="it was changed, or belongs to another root or place: `hermetic log verify`, then restore a backup",
            ) from None

    def unlock_with(self, private: PrivateKey) -> None:
        """Open the root for this process, until `lock`. Raises WrongKey when it is another root's key, and as `file`."""
        if private.public != self.file().public:
            raise WrongKey(f"this is not the key of root {self.root_id}", hint=f"it opens with {self.file().opens_with()}")
        self._private = private

    def lock(self) -> bool:
        """Wipe the private key; returns whether it was here."""
        private, self._private = self._private, None
        if private is not None:
            private.wipe()
        return private is not None

    def file(self) -> RecoveryRootFile:
        """Return the public half. Raises KeyServiceUnavailable (no file), IntegrityError (changed, or open to others)."""
        try:
            found = RecoveryRootFile.decode(read_root_file(self.place))
        except KeyServiceUnavailable as error:
            raise KeyServiceUnavailable(
                error.message, hint=f"it is public: take {root_path(self.place).name} from the backup place, mode 0600"
            ) from None
        if (found.domain, found.uri) != (self.place.domain, self._uri):
            raise FormatError(
                f"{root_path(self.place)} was changed, or is the file of another root", hint="take it from the backup place"
            )
        return found

    def status(self) -> ProviderStatus:
        """Say what opens it; a finding when nothing could be wrapped under it."""
        try:
            found = self.file()
        except HermeticError as error:
            return ProviderStatus(
                self.uri, self.root_id, ProviderState.UNREACHABLE, error.message, findings=(self._unusable(error.hint or ""),)
            )
        state = ProviderState.LOCKED if self._private is None else ProviderState.READY
        remarks = () if found.shares is None or found.authenticator is not None else (self._unauthenticated(),)
        return ProviderStatus(self.uri, self.root_id, state, f"opens with {found.opens_with()}", findings=remarks)

    def _unauthenticated(self) -> Finding:
        return Finding(
            "recovery-root-not-bound",
            "medium",
            self.root_id,
            "these shares were made before shares were bound to their domain: they do not tell a copy that somebody else made",
            f"hermetic key shares create --replace {self.root_id[:8]}; until then keep the fingerprint in hermetic key shares ls",
        )

    def _unusable(self, remedy: str) -> Finding:
        return Finding("recovery-root-unusable", "high", self.root_id, "new keys cannot be wrapped under this recovery root", remedy)


def open_(uri: str, place: Place) -> RecoveryRoot:
    """Return the provider of an existing root; reads nothing yet. Raises UsageError for another URI."""
    _holder(uri)
    return RecoveryRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> RecoveryRoot:
    """Refuse: what makes a recovery root is a key pair, not a place to keep one. Raises UsageError; `put` writes the file."""
    del asked, place
    raise UsageError(f"{uri} is not made like this", hint="`hermetic key shares create -n 5 -m 3`, or `hermetic key escrow --to FILE`")


def protections(_provider: Provider) -> Iterator[Protection]:
    """Name what stands between a recorder of today and the keys, for the conformance report."""
    from hermetic.providers.conformance import Protection  # noqa: PLC0415 - for the report only

    how = "hermetic.crypto.hpke: both have to be broken"
    yield Protection("wrap", "X25519 with ML-KEM-768, AES-256-GCM (HPKE)", lasts=True, how=how)
    yield Protection("path", "none: in one process", lasts=True, how="whoever recovers brings the private key")


def remove(uri: str, place: Place) -> str:
    """Remove the file of a root that was dropped. Raises StorageError. What its holders have is theirs to destroy."""
    holder = _holder(uri)
    private_file.wipe(root_path(place))
    return f"public key removed; {'its shares are' if holder == 'shares' else 'the escrow key is'} worth nothing here any more"


def put(folder: Path, root_id: RootId, file: RecoveryRootFile) -> None:
    """Write the public half into a custody home. Raises Conflict when one is there, StorageError."""
    private_file.write(folder / name_of(root_id), file.encode(), replace=False)


def name_of(root_id: RootId) -> str:
    """Return the name of the file, in custody home and backup place."""
    return f"root-{root_id}.json"


def read(raw: bytes, uri: str) -> RecoveryRootFile:
    """Return the public half from bytes that anybody could have written. Raises FormatError when it is not that of `uri`."""
    found = RecoveryRootFile.decode(raw)
    if found.uri != uri:
        raise FormatError("the file of a recovery root was changed, or is another root's", hint="take another backup copy")
    return found


def _holder(uri: str) -> str:
    holder = recovery_root.holder_of(uri)
    if holder is None:
        raise UsageError(f"{uri!r} is no recovery root", hint="`hermetic key shares create -n 5 -m 3` makes one")
    return holder
