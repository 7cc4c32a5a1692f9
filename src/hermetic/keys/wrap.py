r"""How a data key is made, bound to its place, and wrapped under a KEK.

What must hold:

1. A data key opens one version of one asset in one environment of one domain, whatever provider or KEK wrapped it. Its context
   goes into its derivation, so that a wrap put into another row yields another key.
2. That other key is never handed out: 32 bytes of the derivation are a check value, wrapped with the secret and compared first.
   The check value commits to secret and context together, which AES-GCM alone does not.
3. A wrap is bound to its KEK, KEK version, environment, class, project and data-key id by associated data.
4. The secret S is stored nowhere but inside the wrap; rewrapping moves S to another KEK and changes neither data key nor check.

The construction (DESIGN section 6):

    S                       32 random bytes
    data key || check     = HKDF-Expand-SHA-384(S, "hermetic/v1/data-key" LF || SHA-384(C), 64), 32 bytes each
    C                     = canonical {asset, data_key, domain, environment, version}
    wrapped               = "HDK" 01 || nonce (12) || AES-256-GCM(KEK, S || check) || tag (16), 96 bytes in all
    associated data       = "HDK" 01 || canonical {class, data_key, environment, kek, number, project, slot}

A worked example:

>>> from hermetic.crypto.secret import Secret
>>> context = DataKeyContext(
...     domain=DomainId("aaaaaaaaaaaaaaaaaaaaaaaaaa"), environment=Environment.DEVELOPMENT,
...     asset_id=AssetId("baaaaaaaaaaaaaaaaaaaaaaaaa"), version_id=VersionId("caaaaaaaaaaaaaaaaaaaaaaaaa"),
...     data_key_id=DataKeyId("daaaaaaaaaaaaaaaaaaaaaaaaa"))
>>> context.encode().decode()[:67]
'{"asset":"baaaaaaaaaaaaaaaaaaaaaaaaa","data_key":"daaaaaaaaaaaaaaaa'
>>> key, check = data_key_and_check(Secret(bytes(range(32))), context)
>>> bytes(key.view()).hex()
'aa308c3441ada732be8006f2494ce6e3f02b5cc3d8ebae21eaab72dfe6e4ef74'
>>> check.hex()
'8c61929ba366f9f5b735b1084ea9caa08452c78033342c947bfd24eef005b7f1'
>>> kek = Secret(bytes(32))
>>> place = KekContext(kek_id=KekId("eaaaaaaaaaaaaaaaaaaaaaaaaa"), number=1, environment=Environment.DEVELOPMENT,
...     data_class=DataClass.RESTRICTED, project="risk")
>>> wrapped = wrap_data_key(kek, Secret(bytes(range(32))), place, context)
>>> len(wrapped), wrapped[:4]
(96, b'HDK\x01')
>>> unwrap_data_key(kek, wrapped, place, context).same_as(key)
True
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import hkdf_expand_sha384
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.ids import AssetId, DataClass, DataKeyId, DomainId, Environment, KekId, VersionId, check_id

KEY: Final = 32
PAYLOAD: Final = 2 * KEY  # S || check value
MARKER: Final = b"HDK\x01"
WRAPPED: Final = len(MARKER) + aead.OVERHEAD + PAYLOAD
LABEL: Final = b"hermetic/v1/data-key\n"


class SlotKind(enum.StrEnum):
    """Who does the wrapping of a data key."""

    KEK = "kek"
    IN_PROVIDER = "in-provider"  # the KEK never leaves the HSM or the key service


@dataclass(frozen=True, slots=True)
class DataKeyContext:
    """Where a data key belongs. Raises InvalidName for anything that is not an id."""

    domain: DomainId
    environment: Environment
    asset_id: AssetId
    version_id: VersionId
    data_key_id: DataKeyId

    def __post_init__(self) -> None:
        for text in (self.domain, self.asset_id, self.version_id, self.data_key_id):
            check_id(text)

    def encode(self) -> bytes:
        """Return C. Ids need no escapes, so this is what `canonical.encode` writes, without walking a dictionary."""
        return (
            f'{{"asset":"{self.asset_id}","data_key":"{self.data_key_id}","domain":"{self.domain}",'
            f'"environment":"{self.environment.value}","version":"{self.version_id}"}}'
        ).encode("ascii")


@dataclass(frozen=True, slots=True)
class KekContext:
    """Which KEK version wraps. `number` counts from 1."""

    kek_id: KekId
    number: int
    environment: Environment
    data_class: DataClass
    project: str
    slot: SlotKind = SlotKind.KEK

    def __post_init__(self) -> None:
        check_id(self.kek_id)
        if not 1 <= self.number <= canonical.MAX_INTEGER:
            raise UsageError("KEK versions count from 1")

    def associated_data(self, data_key_id: DataKeyId) -> bytes:
        """Return marker and canonical context for one data key."""
        before, after = self.around()
        return before + data_key_id.encode("ascii") + after

    def around(self) -> tuple[bytes, bytes]:
        """Return what stands before and after the id of a data key in its associated data."""
        return _around(self)


def new_secret() -> Secret:
    """Return a fresh S."""
    return Secret.random(KEY)


def data_key_and_check(secret: Secret, context: DataKeyContext) -> tuple[Secret, bytes]:
    """Return data key and check value, 32 bytes each. Raises UsageError when S has not 32 bytes."""
    if len(secret) != KEY:
        raise UsageError("the secret of a data key has 32 bytes")
    both = hkdf_expand_sha384(secret, LABEL + mac.sha384(context.encode()), PAYLOAD)
    return Secret(both.view()[:KEY]), bytes(both.view()[KEY:])


def payload(secret: Secret, context: DataKeyContext) -> Secret:
    """Return S || check value, 64 bytes: what gets wrapped, here or (`kek: in-provider`) by a provider."""
    return Secret(bytes(secret.view()) + data_key_and_check(secret, context)[1])


def open_payload(raw: Secret, context: DataKeyContext) -> tuple[Secret, Secret]:
    """Return (S, data key) after comparing the check value. Raises IntegrityError when the context is another one."""
    if len(raw) != PAYLOAD:
        raise FormatError(f"an unwrapped data key has {PAYLOAD} bytes")
    secret = Secret(raw.view()[:KEY])
    data_key, check = data_key_and_check(secret, context)
    mac.check(check, bytes(raw.view()[KEY:]), "the check value of the data key")
    return secret, data_key


def wrap_data_key(kek: Secret, secret: Secret, kek_context: KekContext, data_context: DataKeyContext) -> bytes:
    """Return the 96 bytes that the catalogue stores. The caller counts (`limits.check_wraps`)."""
    _same_environment(kek_context, data_context)
    aad = kek_context.associated_data(data_context.data_key_id)
    return _seal(kek, payload(secret, data_context), aad)


def unwrap_data_key(kek: Secret, wrapped: bytes, kek_context: KekContext, data_context: DataKeyContext) -> Secret:
    """Return the data key.

    Raises FormatError for other bytes than a wrap of this version, WrongKey when KEK, bytes or KEK context do not belong
    together, IntegrityError when the wrap is genuine but belongs to another data key context.
    """
    return _unwrap(kek, wrapped, kek_context, data_context)[1]


def take_payload(kek: Secret, wrapped: bytes, kek_context: KekContext, data_context: DataKeyContext) -> Secret:
    """Return S || check value, compared, to be wrapped elsewhere. Raises as `unwrap_data_key`."""
    opened, key = _unwrap(kek, wrapped, kek_context, data_context)
    key.wipe()
    return opened


def put_payload(kek: Secret, inside: Secret, kek_context: KekContext, data_context: DataKeyContext) -> bytes:
    """Wrap S || check value that came from elsewhere, once it is compared. Raises IntegrityError for another context."""
    _same_environment(kek_context, data_context)
    for opened in open_payload(inside, data_context):
        opened.wipe()
    return _seal(kek, inside, kek_context.associated_data(data_context.data_key_id))


def _unwrap(kek: Secret, wrapped: bytes, kek_context: KekContext, data_context: DataKeyContext) -> tuple[Secret, Secret]:
    """Return (S || check, data key), compared."""
    _same_environment(kek_context, data_context)
    if len(wrapped) != WRAPPED or wrapped[: len(MARKER)] != MARKER:
        raise FormatError("not a wrapped data key of version 1: wrong length or marker")
    aad = kek_context.associated_data(data_context.data_key_id)
    try:
        opened = Secret(aead.open_(_checked(kek), wrapped[len(MARKER) :], aad))  # no name for the bytes: error reporters print locals
    except WrongKey:
        raise WrongKey(
            f"data key {data_context.data_key_id} does not unwrap under version {kek_context.number} of KEK {kek_context.kek_id}",
            hint="the row was changed or belongs to another KEK: `hermetic log verify`, then restore it from a backup",
        ) from None
    return opened, open_payload(opened, data_context)[1]


def _same_environment(kek_context: KekContext, data_context: DataKeyContext) -> None:
    if kek_context.environment is not data_context.environment:
        raise IntegrityError(
            f"a {kek_context.environment.value} KEK cannot hold a {data_context.environment.value} data key",
            hint="`hermetic promote` re-encrypts under the target's keys",
        )


def _seal(kek: Secret, inside: Secret, aad: bytes) -> bytes:
    """`inside` comes by name: a Secret that is collected wipes the bytes that its view lends."""
    return MARKER + aead.seal(_checked(kek), inside.view(), aad)


def _checked(kek: Secret) -> Secret:
    if len(kek) != KEY:
        raise UsageError("a KEK has 32 bytes")
    return kek


@lru_cache(maxsize=256)
def _around(context: KekContext) -> tuple[bytes, bytes]:
    """Return the associated data before and after the data-key id: campaigns wrap a million keys under one context."""
    hole = "?" * 26
    whole = MARKER + canonical.encode(
        {
            "class": context.data_class.value,
            "data_key": hole,
            "environment": context.environment.value,
            "kek": context.kek_id,
            "number": context.number,
            "project": context.project,
            "slot": context.slot.value,
        }
    )
    before, _, after = whole.partition(hole.encode("ascii"))
    return before, after
