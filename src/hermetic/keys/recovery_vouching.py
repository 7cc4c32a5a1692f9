r"""What binds a recovery key to its domain, so that a copy of another one is not taken for it. Pure.

Sealing to a public key says nothing of who sealed: whoever can write a backup place could put together a domain of their own there,
every secret of it sealed to the public key of a recovery root that they read there too. The private key opens it. Two things tell the
difference, and both hang on the check value of the domain secret (`derived`), from which all that authenticates the rest comes:

    authenticator   HMAC-SHA-256(derive(seed, "recovery-root-authenticator"), label LF || check (32) || the document without it)
    fingerprint     the first 16 bytes of SHA-256("hermetic/v1/domain-fingerprint" LF domain LF || check (32)), in hexadecimal

The authenticator is made when shares are: the seed is at hand then, and never again in the domain. It stands in the public half of the
recovery root; its document has a salt, so that it serves for no other root. For escrow there is only a public key: people keep the
fingerprint of the domain with the private key, and compare.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hermetic.crypto import mac
from hermetic.crypto.kdf import derive
from hermetic.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.ids import DomainId
    from hermetic.keys.recovery_root import RecoveryRootFile

_LABEL: Final = b"hermetic/v1/recovery-root-authenticator\n"
_FINGERPRINT: Final = b"hermetic/v1/domain-fingerprint\n"
_DIGITS: Final = re.compile(r"[0-9a-f]{32}")


def vouched(file: RecoveryRootFile, private: PrivateKey, check: bytes) -> RecoveryRootFile:
    """Return the file of a recovery root with its authenticator. Raises UsageError for the key of another root."""
    if file.public != private.public:
        raise UsageError("this is not the key of this recovery root")
    return replace(file, authenticator=_authenticator(file, private, check))


def require(file: RecoveryRootFile, private: PrivateKey, check: bytes) -> None:
    """Raises IntegrityError unless the file's authenticator is of this key and this domain secret. A file without one is a misuse."""
    if file.authenticator is None:
        raise UsageError("this recovery root has no authenticator")
    try:
        mac.check(_authenticator(file, private, check), file.authenticator, "the authenticator of the recovery root")
    except IntegrityError:
        raise foreign("the domain that this recovery key was made for") from None


def fingerprint(domain: DomainId, check: bytes) -> str:
    """Return 32 hexadecimal digits, in eights: what people keep of a domain, to know it again."""
    digits = mac.sha256(_FINGERPRINT + domain.encode("ascii") + b"\n" + check).hex()[:32]
    return " ".join(digits[at : at + 8] for at in range(0, 32, 8))


def parsed_fingerprint(text: str) -> str:
    """Return a fingerprint as `fingerprint` writes it, from what somebody typed. Raises UsageError."""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if not _DIGITS.fullmatch(digits):
        raise UsageError(
            "the fingerprint of a domain has 32 hexadecimal digits", hint="`hermetic key shares ls` shows it, and the log"
        )
    return " ".join(digits[at : at + 8] for at in range(0, 32, 8))


def foreign(expected: str) -> IntegrityError:
    """Return the error for a copy that opens and is of another domain."""
    return IntegrityError(
        f"this copy is not of {expected}: it was put together by somebody else",
        hint="believe nothing in it: find out who can write to the backup place, and take another copy",
    )


def _authenticator(file: RecoveryRootFile, private: PrivateKey, check: bytes) -> bytes:
    seed = private.seed()
    try:
        key = derive(seed, "recovery-root-authenticator")
        return mac.hmac_sha256(key, _LABEL + check + replace(file, authenticator=None).encode())
    finally:
        seed.wipe()
