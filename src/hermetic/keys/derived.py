"""Every key that comes from the domain secret, in one table.

The domain secret is 32 random bytes, made by `init`, wrapped under every root in `domain.json`. It opens no data: data keys are
wrapped under KEKs, which have wraps of their own. What derives from it, each by `kdf.derive(secret, label)`:

    field           label                    serves                                                     used by
    row_mac         domain/row-mac           HMAC of authenticated database rows                        db
    column          domain/column            AES-256-GCM of encrypted columns                           db
    lookup          domain/lookup            HMAC that finds an encrypted name                          db
    fingerprint     domain/fingerprint       keyed fingerprints of plaintext, to recognise copies       catalog, gate
    log_openings    domain/log-openings      the log's own three keys (audit/openings)                  audit
    backup          domain/backup            the archive key of backups                                 recovery
    request         domain/request           HMAC of request hashes, as intents on the log carry them   custody
    check           domain/check             nothing: public, 32 bytes, see below                       domain

`check` may be shown. Pinned outside the domain (beside the log's public key), it tells whether the secret that a provider just
unwrapped is the one of the first day: whoever can write `domain.json` could name a provider of his own there, which answers with a
secret of his own.

Erasing a log opening means overwriting the wrapped per-subject key; the domain secret and everything else stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.crypto.kdf import derive
from hermetic.db.columns import RowKeys
from hermetic.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret

LABELS: Final[dict[str, str]] = {
    "row_mac": "domain/row-mac",
    "column": "domain/column",
    "lookup": "domain/lookup",
    "fingerprint": "domain/fingerprint",
    "log_openings": "domain/log-openings",
    "backup": "domain/backup",
    "request": "domain/request",
}
_CHECK: Final = "domain/check"


@dataclass(frozen=True, slots=True)
class DomainKeys:
    """The derived keys of one domain; the table above says what each is for."""

    row_mac: Secret
    column: Secret
    lookup: Secret
    fingerprint: Secret
    log_openings: Secret
    backup: Secret
    request: Secret
    check: bytes

    @classmethod
    def from_secret(cls, domain_secret: Secret) -> DomainKeys:
        """Derive all. Raises UsageError when the secret has not 32 bytes."""
        if len(domain_secret) != 32:
            raise UsageError("a domain secret has 32 bytes")
        keys = {field: derive(domain_secret, label) for field, label in LABELS.items()}
        check = derive(domain_secret, _CHECK)
        return cls(**keys, check=bytes(check.view()))

    def row_keys(self) -> RowKeys:
        """Return the three keys of the database."""
        return RowKeys(mac=self.row_mac, column=self.column, lookup=self.lookup)

    def require_check(self, pinned: bytes) -> DomainKeys:
        """Return itself if `check` is the pinned one. Raises IntegrityError."""
        if self.check != pinned:
            raise IntegrityError(
                "the domain secret is not the one pinned for this domain",
                hint="domain.json or the custody folder was replaced: restore it from a backup",
            )
        return self
