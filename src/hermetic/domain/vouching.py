"""Who says that a backup copy is of the domain that it says it is, before anything in it is believed (spec/backup.md section 5).

    passphrase    the recovery passphrase opened it: nobody else could have made its wrap
    shares        the recovery root's authenticator, made with the private key
    fingerprint   what somebody kept of the domain, and gave
    pins          what this user saw of the domain before
    nothing       none of them, and whoever recovers took it all the same

Whichever is there must agree, whatever else vouches. With nothing the copy is refused, unless somebody says in so many words that it
is to be taken: then that is a finding, and on record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.crypto.hpke import PrivateKey
from hermetic.errors import IntegrityError
from hermetic.formats.findings import Finding
from hermetic.keys import recovery_vouching
from hermetic.keys.recovery_vouching import foreign
from hermetic.keys.recovery_vouching import parsed_fingerprint as parsed_fingerprint  # noqa: PLC0414 - for rooms above

if TYPE_CHECKING:
    from hermetic.domain.pins import Pins
    from hermetic.domain.recovering import CopyKey
    from hermetic.ids import DomainId
    from hermetic.keys.derived import DomainKeys
    from hermetic.keys.recovery_root import RecoveryRootFile

PASSPHRASE, SHARES, FINGERPRINT, PINS, NOTHING = "passphrase", "shares", "fingerprint", "pins", "nothing"
NOT_AUTHENTICATED = "copy-not-authenticated"


@dataclass(frozen=True, slots=True)
class Vouching:
    """What is known of the domain without the copy: the check value of its secret, its fingerprint. `unverified` takes a copy for
    which nothing vouches."""

    check: bytes | None = None
    fingerprint: str | None = None
    unverified: bool = False

    def with_pins(self, seen: Pins | None) -> Vouching:
        """Return this with what the user saw of the domain, unless more is known already."""
        if self.check is not None or seen is None or not seen.domain_check:
            return self
        return replace(self, check=bytes.fromhex(seen.domain_check))


def require(known: Vouching, domain: DomainId, keys: DomainKeys, opened: tuple[CopyKey, RecoveryRootFile | None]) -> str:
    """Return who vouches for the copy that `keys` come from; `opened` is what opened it, and its public half if that came with it.

    Raises IntegrityError when anybody contradicts, or nobody vouches.
    """
    key, file = opened
    vouching = []
    if not isinstance(key, PrivateKey):
        vouching.append(PASSPHRASE)
    elif file is not None and file.authenticator is not None:
        recovery_vouching.require(file, key, keys.check)
        vouching.append(SHARES)
    if known.fingerprint is not None:
        if recovery_vouching.parsed_fingerprint(known.fingerprint) != recovery_vouching.fingerprint(domain, keys.check):
            raise foreign("the domain with this fingerprint")
        vouching.append(FINGERPRINT)
    if known.check is not None:
        if known.check != keys.check:
            raise foreign("the domain that this user has seen")
        vouching.append(PINS)
    if not vouching and not known.unverified:
        raise IntegrityError(
            "nothing vouches that this copy is of your domain: whoever can write the backup place could have made one for this key",
            hint="--domain-fingerprint FINGERPRINT, as it was kept with the recovery key; without it --unverified takes the copy",
        )
    return (vouching or [NOTHING])[0]


def finding(vouched: str, domain: DomainId) -> tuple[Finding, ...]:
    """Return the finding on a copy that was taken though nothing vouches for it."""
    if vouched != NOTHING:
        return ()
    return (
        Finding(
            NOT_AUTHENTICATED,
            "high",
            domain,
            "nothing vouched that this copy is of your domain: somebody who can write the backup place could have made all of it",
            "compare the fingerprint that `hermetic key shares ls` shows with one that was kept elsewhere, before you use any of it",
        ),
    )
