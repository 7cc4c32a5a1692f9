"""One secret under several roots: contexts, slots, and opening through the first root that can be reached.

Slots are how a domain holds two providers, moves from one to another, and recovers. Each wrap is bound to what it is:

    for             context (canonical JSON, given to the provider)
    KEK version     {class, domain, environment, for: "kek", kek, number, project, root}
    signing key     {domain, for: "secret-key", key, purpose, root}
    domain secret   {domain, for: "domain-secret", root}

so that a wrap of one kind, domain, root, KEK, version, environment, class or project is refused in the place of another.

A root that cannot be reached is passed over; a root that answers *wrong* (IntegrityError) stops everything, since a damaged
or swapped slot is something a person has to know of. Recovery with that root left out is possible by leaving its provider out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, Locked, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.keys import documents
from hermetic.keys.provider import WRAPPED_LIMIT, Provider, RootId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.crypto.secret import Secret
    from hermetic.ids import DomainId
    from hermetic.keys.wrap import KekContext

Providers: TypeAlias = "Mapping[RootId, Provider]"
Slots: TypeAlias = "Mapping[RootId, bytes]"
ContextOf: TypeAlias = "Callable[[RootId], bytes]"

SLOT_LIMIT: Final = 16  # roots of one domain
FORMAT: Final = "hermetic/slots/v1"
_LENGTH: Final = 32  # KEKs, signing seeds and the domain secret


def kek_context(domain: DomainId, root_id: RootId, kek: KekContext) -> bytes:
    """Return the context of one KEK version under one root."""
    return canonical.encode(
        {
            "class": kek.data_class.value,
            "domain": domain,
            "environment": kek.environment.value,
            "for": "kek",
            "kek": kek.kek_id,
            "number": kek.number,
            "project": kek.project,
            "root": root_id,
        }
    )


def secret_key_context(domain: DomainId, root_id: RootId, key_id: str, purpose: str) -> bytes:
    """Return the context of one signing key under one root."""
    return canonical.encode({"domain": domain, "for": "secret-key", "key": key_id, "purpose": purpose, "root": root_id})


def domain_secret_context(domain: DomainId, root_id: RootId) -> bytes:
    """Return the context of the domain secret under one root."""
    return canonical.encode({"domain": domain, "for": "domain-secret", "root": root_id})


def wrap_under_all(secret: Secret, providers: Providers, context_of: ContextOf) -> dict[RootId, bytes]:
    """Wrap under every root. Raises UsageError for none or too many, and whatever the first failing provider raises.

    A secret that misses a root could not be recovered through it, so one unreachable provider refuses the whole.
    """
    if not 0 < len(providers) <= SLOT_LIMIT:
        raise UsageError(f"a secret is wrapped under 1 to {SLOT_LIMIT} roots")
    return {root_id: provider.wrap(secret, context_of(root_id)) for root_id, provider in providers.items()}


def open_first(slots: Slots, providers: Providers, context_of: ContextOf, *, missed: Callable[[RootId], None] | None = None) -> Secret:
    """Return the 32-byte secret through the first slot whose provider can be reached, in the order of `providers`.

    `missed` is told of each root that could not be reached (one that only waits to be unlocked could).

    Raises Locked when a provider only waits to be unlocked, KeyServiceUnavailable when none can be reached, IntegrityError
    (WrongKey, FormatError) from the first that answers wrong.
    """
    failures: list[KeyServiceUnavailable] = []
    for root_id, provider in providers.items():
        if root_id not in slots:
            continue
        try:
            secret = provider.unwrap(slots[root_id], context_of(root_id))
        except KeyServiceUnavailable as error:
            failures.append(error)
            if missed is not None and not isinstance(error, Locked):
                missed(root_id)
            continue
        return _checked(secret, root_id)
    raise _unreachable(failures, slots)


def encode(slots: Slots) -> bytes:
    """Return slots as the one canonical document."""
    return canonical.encode({"format": FORMAT, "slots": [_entry(root_id, slots[root_id]) for root_id in sorted(slots)]})


def decode(raw: bytes) -> dict[RootId, bytes]:
    """Read what `encode` wrote. Raises FormatError, Unsupported."""
    limit = SLOT_LIMIT * (WRAPPED_LIMIT * 4 // 3 + 128)
    document = documents.parse(raw, FORMAT, {"format", "slots"}, limit=limit)
    entries = [Fields(item, "key slot", {"root", "wrapped"}) for item in document.items("slots", limit=SLOT_LIMIT)]
    slots = {RootId(entry.identifier("root")): documents.wrapped(entry) for entry in entries}
    if not slots or encode(slots) != raw:
        raise FormatError("key slots: none, roots not in order, or one root twice")
    return slots


def _entry(root_id: RootId, wrapped: bytes) -> dict[str, str]:
    return {"root": root_id, "wrapped": to_base64url(wrapped)}


def _checked(secret: Secret, root_id: RootId) -> Secret:
    if len(secret) != _LENGTH:
        raise IntegrityError(f"root {root_id} unwrapped {len(secret)} bytes, expected {_LENGTH}")
    return secret


def _unreachable(failures: list[KeyServiceUnavailable], slots: Slots) -> KeyServiceUnavailable:
    """Return the error that helps most: unlocking is something the person at hand can do. What failed before it is told too."""
    for number, error in enumerate(failures):
        if isinstance(error, Locked):
            return error if number == 0 else Locked("; ".join(one.message for one in failures[: number + 1]), hint=error.hint)
    if failures:
        return KeyServiceUnavailable("; ".join(error.message for error in failures), hint=failures[0].hint)
    return KeyServiceUnavailable(
        f"none of the {len(slots)} roots that hold this key is at hand", hint="`hermetic key providers` lists them"
    )
