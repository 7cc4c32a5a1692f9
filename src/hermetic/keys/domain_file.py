r"""domain.json: the domain secret, wrapped under every root. Bytes to values and back; the caller reads and writes the file.

    {domain, format: "hermetic/domain/v1", roots: [{provider, root, wrapped}, ...]}     canonical JSON, roots in order of id

Why this file exists. Database rows of roots, slots and signing keys carry a MAC; the MAC key comes from the domain secret; so the
wrap of the domain secret must be read before any row can be believed, and can lie in no authenticated table. It lies here, in the
custody home, mode 0600, never in the project and never beside the data.

Why it needs no MAC. Every field is bound by the wrap itself: domain and root id are in the context that the provider checks, and
the context is computed, not stored, so there is nothing to swap. Whoever changes a byte gets a file that does not open, which is a
denial of service that deleting the file would have been too. What remains, and what meets it:

- an older domain.json put back: it holds the same domain secret under roots that may have been removed since. A removed root has
  lost its KEK slots as well, so it opens nothing but the catalogue; a root that was *compromised* takes the domain secret with it.
- `provider` pointing to a service of the attacker, which answers with a secret of his: rows then fail their MAC, unless he replaced
  the whole custody database; `DomainKeys.check`, pinned outside, and the pinned log key find that.

Provider URIs name services and hold no secret; `check_uri` refuses user information and query parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, NotFound, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.ids import DomainId, check_id
from hermetic.keys import documents
from hermetic.keys.provider import WRAPPED_LIMIT, RootId
from hermetic.keys.slots import SLOT_LIMIT, Providers, domain_secret_context, open_first, wrap_under_all

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "domain.json"
FORMAT: Final = "hermetic/domain/v1"
LIMIT: Final = SLOT_LIMIT * (WRAPPED_LIMIT * 4 // 3 + 1024)
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]{1,480}")


@dataclass(frozen=True, slots=True)
class DomainRoot:
    """One root: the provider that holds it, and the domain secret wrapped under it."""

    root_id: RootId
    provider: str
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DomainFile:
    """The parsed file; `roots` are in order of id."""

    domain: DomainId
    roots: tuple[DomainRoot, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        roots = [{"provider": root.provider, "root": root.root_id, "wrapped": to_base64url(root.wrapped)} for root in self.roots]
        return canonical.encode({"domain": self.domain, "format": FORMAT, "roots": roots})

    @classmethod
    def decode(cls, raw: bytes) -> DomainFile:
        """Read the file. Raises FormatError (anything `encode` would not write), Unsupported (a newer version)."""
        document = documents.parse(raw, FORMAT, {"domain", "format", "roots"}, limit=LIMIT)
        roots = [_root(item) for item in document.items("roots", limit=SLOT_LIMIT)]
        ids = [root.root_id for root in roots]
        if not ids or ids != sorted(set(ids)):
            raise FormatError(f"{NAME}: no roots, roots not in order, or one root twice")
        return cls(DomainId(document.identifier("domain")), tuple(roots))

    def open(self, providers: Providers) -> Secret:
        """Return the domain secret through the first root that can be reached. Raises as `slots.open_first`."""
        slots = {root.root_id: root.wrapped for root in self.roots}
        return open_first(slots, providers, lambda root_id: domain_secret_context(self.domain, root_id))

    def with_root(self, secret: Secret, uri: str, root_id: RootId, providers: Providers) -> DomainFile:
        """Return the file with one root added or replaced; `providers` holds its provider."""
        if root_id not in providers:
            raise UsageError("the provider of the new root is missing")
        mine = {root_id: providers[root_id]}
        wrapped = wrap_under_all(secret, mine, lambda root: domain_secret_context(self.domain, root))[root_id]
        return self.with_entry(DomainRoot(root_id, check_uri(uri), wrapped))

    def with_entry(self, entry: DomainRoot) -> DomainFile:
        """Return the file with the wrap of one root added or replaced. Raises UsageError for too many."""
        return DomainFile(self.domain, _ordered([*(root for root in self.roots if root.root_id != entry.root_id), entry]))

    def without_root(self, root_id: RootId) -> DomainFile:
        """Return the file without a root. Raises NotFound, and UsageError for the last one."""
        left = [root for root in self.roots if root.root_id != root_id]
        if len(left) == len(self.roots):
            raise NotFound(f"no root {root_id} in this domain")
        if not left:
            raise UsageError("the last root of a domain cannot be removed", hint="add another one first")
        return DomainFile(self.domain, tuple(left))


def create(domain: DomainId, providers: Providers, uris: Mapping[RootId, str] | None = None) -> tuple[DomainFile, Secret]:
    """Make a domain secret and wrap it under every root; `uris` replaces what providers say of themselves."""
    check_id(domain)
    secret = Secret.random(32)
    wraps = wrap_under_all(secret, providers, lambda root_id: domain_secret_context(domain, root_id))
    names = {root_id: provider.uri for root_id, provider in providers.items()} | dict(uris or {})
    roots = [DomainRoot(root_id, check_uri(names[root_id]), wrapped) for root_id, wrapped in wraps.items()]
    return DomainFile(domain, _ordered(roots)), secret


def check_uri(uri: str) -> str:
    """Return a provider URI if it can hold no secret: no user information, no query, at most 480 visible characters."""
    if not _URI.fullmatch(uri) or any(char in uri for char in "@?#\\\"'"):
        raise UsageError(
            "a provider URI is SCHEME:REST without user information, query and fragment",
            hint="credentials belong to the provider's own settings, never into the URI",
        )
    return uri


def _root(item: canonical.Json) -> DomainRoot:
    entry = Fields(item, f"root in {NAME}", {"provider", "root", "wrapped"})
    try:
        uri = check_uri(entry.text("provider", limit=512))
    except UsageError as error:
        raise FormatError(f"{NAME}: {error}") from None
    return DomainRoot(RootId(entry.identifier("root")), uri, documents.wrapped(entry))


def _ordered(roots: list[DomainRoot]) -> tuple[DomainRoot, ...]:
    if len(roots) > SLOT_LIMIT:
        raise UsageError(f"a domain has at most {SLOT_LIMIT} roots")
    return tuple(sorted(roots, key=lambda root: root.root_id))
