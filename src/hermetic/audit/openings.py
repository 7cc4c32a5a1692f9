"""Commitments that hide, openings that show, and erasure that takes the openings away for ever.

A hidden field is `HMAC-SHA-256(salt, "hermetic/v1/commitment" LF field LF canonical JSON of the value)` in the leaf. The salts of one
leaf and subject come from one random 32-byte seed: `salt = HMAC-SHA-256(seed, "hermetic/v1/log-salt" LF field)`, so that showing one
field does not show the others. Seed and values are sealed under the subject's own key:

    opening row  = one part for each subject of the leaf: handle (32) || u32 length || AES-256-GCM(subject key, {"seed","values"})
    bound to       "hermetic/v1/log-opening" LF domain/generation/index
    subject key  = 32 random bytes, wrapped with AES-256-GCM under the log's key, bound to the handle
    handle       = HMAC-SHA-256(lookup key, subject)

`erase` overwrites the wrapped subject key. Leaves, hashes and proofs stay as they were; the commitments can no longer be opened, nor
be guessed at, because the seed is gone. An erased subject stays erased: later entries about it commit to what nobody can open.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from hermetic.audit.leaf import encode_json
from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.audit.leaf import Entry, Leaf
    from hermetic.audit.store import LogStore, OpeningRow
    from hermetic.formats.canonical import Json, JsonValue
    from hermetic.ids import DomainId

SubjectKeys: TypeAlias = "dict[bytes, Secret | None]"

HANDLE = 32
CACHE_LIMIT = 4096
OPENING_LIMIT = 262_144  # bytes of one sealed part


class LogKeys:
    """The keys that the log uses beside its signing key, derived from one Secret that custody wraps under the root."""

    __slots__ = ("lookup", "state", "wrapping")

    def __init__(self, secret: Secret) -> None:
        self.wrapping = derive(secret, "log-subject-wrapping")
        self.lookup = derive(secret, "log-subject-lookup")
        self.state = derive(secret, "log-state")


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one commitment to somebody who has only the leaf: `check_opening` verifies it without any key."""

    field: str
    salt: bytes
    value: JsonValue


def check_opening(leaf: Leaf, opening: Opening) -> JsonValue:
    """Return the value if it is what the leaf commits to. Raises IntegrityError, or FormatError when the leaf has no such field."""
    if opening.field not in leaf.hidden:
        raise FormatError(f"this log entry has no hidden field {opening.field!r}")
    made = mac.commitment(opening.salt, opening.field, canonical.encode(opening.value))
    mac.check(leaf.hidden[opening.field], made, f"the opening of {opening.field!r}")
    return opening.value


class Openings:
    """Makes commitments and opens them, for one log. Subject keys are cached in memory; whether one is erased is asked each time."""

    def __init__(self, domain: DomainId, keys: LogKeys, random: Callable[[int], bytes] = os.urandom) -> None:
        self._domain = domain
        self._keys = keys
        self._random = random
        self._cache: dict[bytes, tuple[bytes, Secret]] = {}
        self._handles: dict[str, bytes] = {}

    def handle(self, subject: str) -> bytes:
        """Return what stands for a subject in the database."""
        found = self._handles.get(subject)
        if found is None:
            if len(self._handles) >= CACHE_LIMIT:
                self._handles.clear()
            found = self._handles[subject] = mac.hmac_sha256(self._keys.lookup, b"hermetic/v1/log-subject\n" + subject.encode("utf-8"))
        return found

    def commit(
        self, store: LogStore, entry: Entry, place: tuple[int, int], subjects: SubjectKeys
    ) -> tuple[dict[str, bytes], OpeningRow | None]:
        """Return the commitments of an entry at `place` (generation, index) and the row that opens them, None if nothing can.

        `subjects` remembers the keys met in one transaction; start it empty. Raises UsageError for what no reader would open.
        """
        commitments: dict[str, bytes] = {}
        parts: list[bytes] = []
        for subject, values in _by_subject(entry).items():
            seed = self._random(mac.SALT)
            texts = {name: encode_json(value) for name, value in values.items()}
            for name, text in texts.items():
                commitments[name] = mac.commitment(_salt(seed, name), name, text.encode("utf-8"))
            handle = self.handle(subject)
            if handle not in subjects:
                subjects[handle] = self._subject_key(store, handle, create=True)
            key = subjects[handle]
            if key is not None:
                body = f'{{"seed":"{to_base64url(seed)}","values":{{{_members(texts)}}}}}'
                sealed = aead.seal(key, body.encode("utf-8"), self._context(*place))
                if len(sealed) > OPENING_LIMIT:
                    raise UsageError(
                        "what is to be kept beside the log is too long", hint="reasons and names are sentences, not files"
                    )
                parts.append(handle + len(sealed).to_bytes(4, "big") + sealed)
        return commitments, (place[1], parts[0][:HANDLE], b"".join(parts)) if parts else None

    def open(self, store: LogStore, leaf: Leaf) -> dict[str, Opening]:
        """Return the openings of a leaf by field, without those of erased subjects.

        Raises IntegrityError when an opening row does not belong to the leaf.
        """
        row = store.opening(leaf.generation, leaf.index)
        found: dict[str, Opening] = {}
        for handle, sealed in _parts(row[2] if row else b""):
            key = self._subject_key(store, handle, create=False)
            if key is not None:
                found.update(_read_part(aead.open_(key, sealed, self._context(leaf.generation, leaf.index))))
        for opening in found.values():
            check_opening(leaf, opening)
        return found

    def erase(self, store: LogStore, subject: str) -> int:
        """Destroy a subject's key. Return how many openings name it first; the row stays, so that no new key is ever made."""
        handle = self.handle(subject)
        self._cache.pop(handle, None)
        store.put_subject(handle, None)
        return store.openings_of(handle)

    def _context(self, generation: int, index: int) -> bytes:
        return f"hermetic/v1/log-opening\n{self._domain}/{generation}/{index}".encode("ascii")

    def _subject_key(self, store: LogStore, handle: bytes, *, create: bool) -> Secret | None:
        row = store.subject(handle)
        if row is None:
            return self._new_subject(store, handle) if create else None
        if row.wrapped is None:
            return None
        known = self._cache.get(handle)
        if known is None or known[0] != row.wrapped:
            known = row.wrapped, Secret(aead.open_(self._keys.wrapping, row.wrapped, _wrap_context(handle)))
            self._remember(handle, known)
        return known[1]

    def _new_subject(self, store: LogStore, handle: bytes) -> Secret:
        key = Secret.random(32)
        wrapped = aead.seal(self._keys.wrapping, key.view(), _wrap_context(handle))
        store.put_subject(handle, wrapped)
        self._remember(handle, (wrapped, key))
        return key

    def _remember(self, handle: bytes, known: tuple[bytes, Secret]) -> None:
        if len(self._cache) >= CACHE_LIMIT:
            self._cache.clear()
        self._cache[handle] = known


def _by_subject(entry: Entry) -> dict[str, dict[str, JsonValue]]:
    """Group hidden values by subject, in the order in which subjects first appear."""
    groups: dict[str, dict[str, JsonValue]] = {}
    for name, hidden in entry.hidden.items():
        groups.setdefault(hidden.subject, {})[name] = hidden.value
    return groups


def _members(texts: Mapping[str, str]) -> str:
    """Return the members of a canonical JSON object from field names and encoded values."""
    return ",".join([f'"{name}":{texts[name]}' for name in sorted(texts)])


def _salt(seed: bytes, name: str) -> bytes:
    return mac.hmac_sha256(seed, b"hermetic/v1/log-salt\n" + name.encode("ascii"))


def _wrap_context(handle: bytes) -> bytes:
    return b"hermetic/v1/log-subject-key\n" + handle


def _parts(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Split an opening row into (handle, sealed). Raises FormatError."""
    parts: list[tuple[bytes, bytes]] = []
    while raw:
        length = int.from_bytes(raw[HANDLE : HANDLE + 4], "big")
        end = HANDLE + 4 + length
        if len(raw) < end or not 0 < length <= OPENING_LIMIT:
            raise FormatError("the openings of a log entry are cut or too long")
        parts.append((raw[:HANDLE], raw[HANDLE + 4 : end]))
        raw = raw[end:]
    return parts


def _read_part(raw: bytes) -> dict[str, Opening]:
    body: Any = canonical.decode(raw, limit=OPENING_LIMIT)
    if not isinstance(body, dict) or body.keys() != {"seed", "values"} or not isinstance(body["values"], dict):
        raise FormatError("an opening holds a seed and values")
    if not isinstance(body["seed"], str):
        raise FormatError("the seed of an opening is base64url text")
    seed = from_base64url(body["seed"], length=mac.SALT)
    values: Mapping[str, Json] = body["values"]
    if not all(map(str.isascii, values)):
        raise FormatError("an opening names a field that no log entry can have")
    return {name: Opening(name, _salt(seed, name), value) for name, value in values.items()}
