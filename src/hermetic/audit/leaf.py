"""What one leaf says: canonical JSON (RFC 8785) of at most 65,535 bytes. Pure.

    {"at_ms":1767225600000,                      Unix time, milliseconds
     "facts":{"request":"...","purpose":"train"},  what everybody may see: ids, sizes, states, digests, counts
     "format":"hermetic/v1/log-leaf",
     "generation":1,"index":42,                  where it stands: a leaf cannot be moved
     "hidden":{"principal":"<base64url>"},       salted commitments to what reveals; left out when there are none
     "kind":"release.intent",
     "rows":[["kek","...",7,"<base64url>"]]}     revisions of database rows that this event set; left out when there are none

An `Entry` is what a caller wants logged; a `Leaf` is what was. `KINDS` registers the kinds that this release writes with the facts
each must have; a reader takes any well-formed kind, so that an older release can verify a newer log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, cast

from hermetic.audit.proof import LEAF_LIMIT
from hermetic.audit.tree import check_size
from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.formats.canonical import Json, JsonValue

FORMAT = "hermetic/v1/log-leaf"
FACT_LIMIT = 64
HIDDEN_LIMIT = 32
ROW_LIMIT = 512
SUBJECT_LIMIT = 255  # characters

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z][a-z0-9-]{0,31}){1,2}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

KINDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(facts.split())
    for kind, facts in {
        "domain.created": "key",
        "domain.restored": "key restored highest",
        "domain.recovered": "copy",
        "log.key-changed": "old new signature",
        "manifest.key-changed": "old old_public new new_public signature",
        "manifest.key-replaced": "old old_public new new_public",
        "subject.erased": "openings",
        "release.intent": "request",
        "release.outcome": "request",
        "release.denied": "request",
        "access.denied": "",
        "denials.counted": "of count first_ms last_ms",
        "denials.summed": "count digest first_ms last_ms sorts things",
        "version.published": "version",
        "version.abandoned": "version",
        "version.deleted": "version",
        "version.promotion": "version decision",
        "version.promoted": "version copy decision",
        "asset.renamed": "asset",
        "asset.changed": "asset",
        "asset.fallback": "asset version",
        "location.changed": "asset",
        "key.created": "key",
        "key.rotated": "key",
        "key.rewrapped": "key",
        "key.state": "key state",
        "key.changed": "key",
        "key.destroyed": "key",
        "key.destruction-announced": "key number due_ms",
        "key.destruction-cancelled": "key number",
        "key.destruction-held-up": "key number error",
        "certificate.made": "certificate kind subject",
        "root.added": "root",
        "root.extended": "root count",
        "root.rewrapped": "root count",
        "root.state": "root state",
        "root.reduced": "root count",
        "root.removed": "root",
        "root.wiped": "root",
        "root.checked": "root",
        "root.used": "count first_ms last_ms roots",
        "policy.applied": "policy",
        "principal.enrolled": "principal",
        "principal.state": "principal state",
        "authority.added": "authority",
        "authority.state": "authority state",
        "credential.issued": "credential principal",
        "credential.renewed": "credential principal",
        "credential.met": "credential principal",
        "credential.ended": "credential state",
        "credential.expired": "count",
        "credential.removed": "count",
        "service.certificate": "fingerprint",
        "token.exchanged": "credential principal token",
        "token.refused": "error",
        "grant.given": "grant",
        "grant.revoked": "grant",
        "grant.used": "grant",
        "break-glass.opened": "grant",
        "break-glass.reviewed": "grant",
        "factor.invited": "factor principal expires_ms",
        "factor.begun": "principal invited",
        "factor.added": "factor principal factor_kind",
        "factor.confirmed": "factor principal factor_kind",
        "factor.refused": "principal failed",
        "factor.removed": "factor principal own",
        "approver.enrolled": "approver alone",
        "approver.removed": "approver",
        "approval.asked": "request",
        "approval.given": "request",
        "approval.refused": "request",
        "approval.used": "request",
        "approval.expired": "request",
        "approval.withdrawn": "request",
        "exposure.started": "exposure version",
        "exposure.ended": "exposure",
        "run.started": "run",
        "run.ended": "run",
        "promotion.decided": "version",
        "signature.made": "version",
        "signature.revoked": "version",
        "package.created": "package",
        "package.opened": "package version",
        "package.destroyed": "package",
        "backup.made": "backup",
        "backup.destroyed": "before_ms",
        "drill.ended": "drill",
        "log.exported": "size",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that must not stand in the log, and whose it is: erasing `subject` makes it unreadable for ever.

    `subject` is any stable text: `principal:<id>`, `asset:<id>`, or a data subject's name. It is stored only as an HMAC.
    """

    value: JsonValue
    subject: str

    def __post_init__(self) -> None:
        if not self.subject or len(self.subject) > SUBJECT_LIMIT:
            raise UsageError(f"the subject of a hidden value is text of 1 to {SUBJECT_LIMIT} characters")


@dataclass(frozen=True, slots=True)
class RowState:
    """The state of a database row that an event brought about: `log verify` finds a row put back to an older one.

    `key` is the primary key as text; `revision` None says that the row was deleted; `digest` (32 bytes) may bind its content.
    """

    table: str
    key: str
    revision: int | None
    digest: bytes | None = None

    def to_json(self) -> list[Json]:
        """Return [table, key, revision, digest]."""
        return [self.table, self.key, self.revision, None if self.digest is None else to_base64url(self.digest)]

    @classmethod
    def from_json(cls, value: Json) -> RowState:
        """Read it back. Raises FormatError."""
        if not isinstance(value, list) or len(value) != 4:
            raise FormatError("a row state is [table, key, revision, digest]")
        table, key, revision, digest = value
        if not isinstance(table, str) or not isinstance(key, str) or not isinstance(digest, (str, type(None))):
            raise FormatError("a row state names table and key as text")
        if revision is not None:
            check_size(cast("int", revision), "row revision")
        raw = None if digest is None else from_base64url(digest, length=32)
        return cls(table, key, cast("int | None", revision), raw)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a caller wants logged. Raises UsageError when it could not become a leaf.

    Values in `facts` are visible to every reader of the log for ever. Put the principal first in `hidden`: openings can be looked
    up by the subject of the first field.
    """

    kind: str
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    hidden: Mapping[str, Hidden] = field(default_factory=dict)
    rows: tuple[RowState, ...] = ()

    def __post_init__(self) -> None:
        required = KINDS.get(self.kind)
        if required is None:
            raise UsageError(f"{self.kind!r} is not a registered kind of log entry", hint="add it to audit.leaf.KINDS and the spec")
        if not required <= self.facts.keys():
            raise UsageError(f"a log entry {self.kind} lacks {', '.join(sorted(required - self.facts.keys()))}")
        if len(self.facts) > FACT_LIMIT or len(self.hidden) > HIDDEN_LIMIT or len(self.rows) > ROW_LIMIT:
            raise UsageError("a log entry has too many facts, hidden values or rows")
        for name in (*self.facts, *self.hidden):
            if name not in _SEEN_NAMES:
                _remember_name(name)


_SEEN_NAMES: set[str] = set()


def _remember_name(name: str) -> None:
    """Check a field name once: the same few come back millions of times."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a field name: lower-case letters, digits and underscores")
    if len(_SEEN_NAMES) < 4096:
        _SEEN_NAMES.add(name)


def encode_leaf(entry: Entry, place: tuple[int, int], at_ms: int, hidden: Mapping[str, bytes]) -> bytes:
    """Return the leaf of `entry` at `place` (generation, index); `hidden` holds its commitments.

    Raises UsageError over 65,535 bytes, FormatError for a time that no reader accepts. The members stand in
    RFC 8785 order here, so that only the parts need the general encoder.
    """
    generation, index = place
    check_size(at_ms, "leaf time")
    hides = _encode_hidden(hidden) if hidden else ""
    rows = f',"rows":{encode_json([row.to_json() for row in entry.rows])}' if entry.rows else ""
    facts = encode_facts(entry.facts)
    raw = (
        f'{{"at_ms":{at_ms:d},"facts":{facts},"format":"{FORMAT}","generation":{generation:d}{hides},"index":{index:d},'
        f'"kind":"{entry.kind}"{rows}}}'
    ).encode()
    if len(raw) > LEAF_LIMIT:
        raise UsageError(f"a log entry has {len(raw)} bytes, over the limit of {LEAF_LIMIT}", hint="log a digest and a count instead")
    return raw


def encode_facts(facts: Mapping[str, JsonValue]) -> str:
    """Return what `canonical.encode` would, as text and faster for flat values; field names were checked. Raises UsageError."""
    members = []
    for name in sorted(facts):
        value = facts[name]
        if type(value) is str and value.isascii():
            members.append(f'"{name}":{encode_basestring(value)}')
        else:
            members.append(f'"{name}":{encode_json(value)}')
    return "{" + ",".join(members) + "}"


def encode_json(value: JsonValue) -> str:
    """Return canonical JSON as text. Raises UsageError."""
    return canonical.encode(value).decode("utf-8")


def _encode_hidden(hidden: Mapping[str, bytes]) -> str:
    return ',"hidden":{' + ",".join([f'"{name}":"{to_base64url(hidden[name])}"' for name in sorted(hidden)]) + "}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf as read: `hidden` maps field names to 32-byte commitments."""

    generation: int
    index: int
    at_ms: int
    kind: str
    facts: Mapping[str, Json]
    hidden: Mapping[str, bytes]
    rows: tuple[RowState, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Leaf:
        """Read a leaf. Raises FormatError and nothing else."""
        return cls.from_json(canonical.decode(raw, limit=LEAF_LIMIT))

    @classmethod
    def from_json(cls, value: Json) -> Leaf:
        """Check the members of a decoded leaf. Raises FormatError."""
        if not isinstance(value, dict) or value.keys() - {"hidden", "rows"} != REQUIRED or not value.keys() <= MEMBERS:
            raise FormatError("a log leaf does not have exactly the members it must have")
        if value["format"] != FORMAT:
            raise FormatError(f"not a log leaf of format {FORMAT}", hint="a newer release may have written it")
        return cls(
            _positive(value["generation"]),
            check_size(cast("int", value["index"]), "leaf index"),
            check_size(cast("int", value["at_ms"]), "leaf time"),
            _kind(value["kind"]),
            _members(value["facts"], FACT_LIMIT, empty=True),
            {name: _commitment(item) for name, item in _members(value.get("hidden", {}), HIDDEN_LIMIT, "hidden" not in value).items()},
            row_states(value),
        )


REQUIRED = frozenset({"at_ms", "facts", "format", "generation", "index", "kind"})
MEMBERS = REQUIRED | {"hidden", "rows"}


def _positive(value: Json) -> int:
    if check_size(cast("int", value), "log generation") == 0:
        raise FormatError("log generations count from 1")
    return cast("int", value)


def _kind(value: Json) -> str:
    if not isinstance(value, str) or not _KIND.fullmatch(value):
        raise FormatError("the kind of a log leaf is two or three dotted words")
    return value


def _members(value: Json, limit: int, empty: bool) -> dict[str, Json]:  # noqa: FBT001 - private
    if not isinstance(value, dict) or len(value) > limit or not (value or empty):
        raise FormatError(f"a log leaf holds objects of at most {limit} members, and leaves empty ones out")
    if not all(map(_NAME.fullmatch, value)):
        raise FormatError("a field name in a log leaf is lower-case letters, digits and underscores")
    return value


def _commitment(value: Json) -> bytes:
    if not isinstance(value, str):
        raise FormatError("a commitment is base64url text")
    return from_base64url(value, length=32)


def row_states(value: dict[str, Json]) -> tuple[RowState, ...]:
    """Return the row states of a decoded leaf. Raises FormatError."""
    rows = value.get("rows", ())
    if "rows" in value and not (isinstance(rows, list) and 0 < len(rows) <= ROW_LIMIT):
        raise FormatError(f"a log leaf holds 1 to {ROW_LIMIT} row states, or leaves them out")
    return tuple(map(RowState.from_json, cast("list[Json]", rows)))
