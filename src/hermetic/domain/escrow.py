"""Recipients' keys in files, for escrow and packages: a public one that things are sealed to, a private one under a passphrase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import Conflict, NotFound, StorageError
from hermetic.keys import recipient_key, recovery_root, recovery_vouching
from hermetic.keys.recipient_key import Recipient
from hermetic.providers import private_file
from hermetic.steps import reached

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.crypto.hpke import PrivateKey
    from hermetic.crypto.secret import Secret
    from hermetic.crypto.slip39 import Share
    from hermetic.ids import DomainId
    from hermetic.keys.recovery_root import RecoveryRootFile

PUBLIC_SUFFIX = ".pub"


def new_key(path: Path, name: str, passphrase: Secret) -> tuple[Path, Recipient]:
    """Make a key pair: the private file at `path`, the public one beside it. Raises Conflict, UsageError, StorageError.

    The private file is durable before the public one is there to be handed on: nothing is ever sealed to a key that was lost. An
    interrupted one is finished by the same call.
    """
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    if path.exists() and not public.exists():
        recipient = _begun(path, name, passphrase)
    elif public.exists():
        raise Conflict(f"{public} exists already", hint="a key pair is made once: choose another name")
    else:
        raw, recipient = recipient_key.create(name, passphrase)
        private_file.write(path, raw, replace=False)
        reached("escrow.private.written")
    private_file.write(public, recipient.encode(), replace=False)
    return public, recipient


def _begun(path: Path, name: str, passphrase: Secret) -> Recipient:
    """Return the public half of a private file that stands alone. Raises Conflict unless it is this holder's."""
    raw = private_file.read(path, recipient_key.LIMIT)
    recipient_key.open_file(raw, passphrase).wipe()
    recipient = recipient_key.public_of(raw)
    if recipient.name != name:
        raise Conflict(f"{path} is the key of {recipient.name}", hint="choose another name, or give --name as it is there")
    return recipient


def read_recipient(path: Path) -> Recipient:
    """Read a public file, which anybody may. Raises NotFound, StorageError, FormatError, Unsupported."""
    try:
        with path.open("rb") as file:
            return Recipient.decode(file.read(recipient_key.LIMIT + 1))
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None


def open_key(path: Path, passphrase: Secret) -> PrivateKey:
    """Open a private file. Raises NotFound, IntegrityError (others may read it), WrongKey for another passphrase."""
    return recipient_key.open_file(private_file.read(path, recipient_key.LIMIT), passphrase)


def in_escrow(domain: DomainId, recipient: Recipient, *, now_ms: int) -> RecoveryRootFile:
    """Return the file of a recovery root whose private key the recipient holds."""
    return recovery_root.new(domain, recipient.public, recipient.name, created_ms=now_ms)


def in_shares(domain: DomainId, private: PrivateKey, shares: list[Share], name: str, *, now_ms: int, check: bytes) -> RecoveryRootFile:
    """Return the file of a recovery root whose private key was split into `shares`. It is bound to the domain whose secret has
    the check value `check`, so that `key recover` takes no copy of another one."""
    held = recovery_root.ShareSet(len(shares), shares[0].threshold, shares[0].mark)
    return recovery_vouching.vouched(recovery_root.new(domain, private.public, name, created_ms=now_ms, shares=held), private, check)
