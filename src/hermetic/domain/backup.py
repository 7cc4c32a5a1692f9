"""The encrypted copy of the custody database that follows every commit (spec/backup.md).

Invariants:
1. What lies in the backup place is ciphertext, or names that mean nothing. The key comes from the domain secret.
2. A copy is whole or absent: packs are durable before the index that needs them, an index appears under its final name at once,
   and a pack is removed only after a later index without it is durable.
3. A copy is small: the database is cut into chunks of 32 KiB, and a chunk that the last index already has is not written again.

    <place>/<domain id>/recovery-<root>.json  the root, wrapped under the recovery passphrase (Argon2id)
                        domain.json           the domain secret, wrapped under the roots
                        pack-<number>         sealed chunks, one after another
                        index-<number>        sealed list of (chunk name, pack, offset, length), newest number wins

A worked example: a database of 1 MiB has 32 chunks. The first copy writes pack-1 with 32 of them and index-1. Publishing a version
changes 5 pages in 4 chunks: pack-2 holds 4, index-2 names 28 chunks in pack-1 and 4 in pack-2.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import derive
from hermetic.errors import FormatError, IntegrityError, NotFound, WrongKey
from hermetic.formats import canonical
from hermetic.steps import reached

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.stores.base import Store

CHUNK: Final = 32 * 1024
NAME: Final = 16
ENTRY: Final = struct.Struct(">16sQQI")  # chunk name, pack number, offset in the pack, sealed length
HEAD: Final = b"hermetic/v1/backup-index\n"
CHUNK_LABEL: Final = b"hermetic/v1/backup-chunk\n"
INDEX_LIMIT: Final = 256 * 1024 * 1024
PACKS_LIMIT: Final = 48  # above this many packs the next copy writes everything anew
NUMBER_LIMIT: Final = 10**12 - 1
KEPT: Final = 2  # indexes that stay, so that one damaged index loses nothing
_INDEX: Final = re.compile(r"index-([0-9]{12})")
_PACK: Final = re.compile(r"pack-([0-9]{12})")


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one chunk lies."""

    name: bytes
    pack: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Index:
    """One copy: its number, what the log was then, and the chunks of the database in order."""

    number: int
    generation: int
    log_size: int
    log_root: bytes
    at_ms: int
    chunks: tuple[Placed, ...]

    def to_bytes(self) -> bytes:
        """Return the plain bytes that get sealed."""
        facts = canonical.encode(
            {
                "at_ms": self.at_ms,
                "chunks": len(self.chunks),
                "generation": self.generation,
                "log_root": self.log_root.hex(),
                "log_size": self.log_size,
                "number": self.number,
            }
        )
        body = b"".join(ENTRY.pack(item.name, item.pack, item.offset, item.length) for item in self.chunks)
        return struct.pack(">I", len(facts)) + facts + body

    @classmethod
    def from_bytes(cls, raw: bytes) -> Index:
        """Read plain bytes. Raises FormatError."""
        if len(raw) < 4:
            raise FormatError("backup index is too short")
        (length,) = struct.unpack_from(">I", raw)
        facts = canonical.decode(raw[4 : 4 + length], limit=4096)
        body = raw[4 + length :]
        if not isinstance(facts, dict) or len(body) % ENTRY.size:
            raise FormatError("backup index has a wrong shape")
        chunks = tuple(Placed(*fields) for fields in ENTRY.iter_unpack(body))
        if facts.get("chunks") != len(chunks):
            raise FormatError("backup index is cut")
        return cls(
            number=_whole(facts.get("number")),
            generation=_whole(facts.get("generation")),
            log_size=_whole(facts.get("log_size")),
            log_root=_digest(facts.get("log_root")),
            at_ms=_whole(facts.get("at_ms")),
            chunks=chunks,
        )


class Copies:
    """The copies of one domain in one place. `key` is the domain's backup key.

    Each pack and each index is sealed under a key of its own number: nonces are random, and a domain makes copies all its life.
    """

    def __init__(self, store: Store, key: Secret) -> None:
        self._store = store
        self._chunk_key = derive(key, "backup/chunk")
        self._name_key = derive(key, "backup/name")
        self._index_key = derive(key, "backup/index")
        self._last: Index | None = None

    def numbers(self) -> list[int]:
        """Return the numbers of the indexes present, rising. Raises StorageError."""
        found = (_INDEX.fullmatch(name) for name, _ in self._store.list("index-"))
        return sorted(int(match.group(1)) for match in found if match)

    def newest(self, *, older: bool = False) -> tuple[Index, int]:
        """Return the newest index, and how many newer ones were passed over: none, unless `older` allows it.

        Raises NotFound when there is no copy, IntegrityError when the index does not open.
        """
        numbers = self.numbers()
        if not numbers:
            raise NotFound("the backup place holds no copy of this domain")
        tried = numbers[: -KEPT - 1 : -1] if older else numbers[-1:]
        problem: IntegrityError | None = None
        for skipped, number in enumerate(tried):
            try:
                return self.read(number), skipped
            except IntegrityError as error:
                problem = error
        before = "" if older or len(numbers) < 2 else "; --reason TEXT takes the copy before it, on record"
        raise IntegrityError(
            "the newest index in the backup place does not open", hint=f"it was changed or belongs to another domain{before}"
        ) from problem

    def latest(self) -> Index:
        """Return the newest index that opens. Raises NotFound when there is none, IntegrityError when none opens."""
        return self.newest(older=True)[0]

    def read(self, number: int) -> Index:
        """Return index `number`. Raises WrongKey, FormatError, NotFound."""
        sealed = self._store.read_bytes(_index_name(number), limit=INDEX_LIMIT)
        if not sealed.startswith(HEAD):
            raise FormatError("not a backup index")
        index = Index.from_bytes(_open(self._index_key, number, sealed[len(HEAD) :], HEAD + _u64(number)))
        if index.number != number:
            raise IntegrityError("a backup index stands under another number")
        return index

    def write(self, database: bytes, *, generation: int, log_size: int, log_root: bytes, at_ms: int, anew: bool = False) -> Index:
        """Add a copy of `database`. Raises StorageError; then the earlier copies are as they were.

        `anew` shares no chunk with earlier copies, and removes them all: they hold what was destroyed since. A second index on the
        same pack takes the place of the one before, so that one damaged index loses nothing here either.
        """
        facts = (generation, log_size, log_root, at_ms)
        index = self._add(database, facts, None if anew else self.known())
        if anew:
            index = self._add(database, facts, index)
        self._prune()
        return index

    def _add(self, database: bytes, facts: tuple[int, int, bytes, int], last: Index | None) -> Index:
        """Write a pack, unless `last` has every chunk, and an index."""
        number = self._next_number()
        pack, chunks = self._gather(database, number, {} if last is None else self._reusable(last))
        if pack:
            self._store.put_bytes(_pack_name(number), pack)
            reached("backup.pack.written")
        index = Index(number, *facts, tuple(chunks))
        sealed = HEAD + aead.seal(_of_number(self._index_key, number), index.to_bytes(), HEAD + _u64(number))
        self._store.put_bytes(_index_name(number), sealed)
        reached("backup.index.written")
        self._last = index
        return index

    def fetch(self, index: Index) -> bytes:
        """Return the database of a copy. Raises IntegrityError when any chunk is missing or changed."""
        return b"".join(self._chunk(item, at) for at, item in enumerate(index.chunks))

    def known(self) -> Index | None:
        """Return the newest index, None when there is none or it is damaged: then a copy builds on nothing."""
        numbers = self.numbers()
        if not numbers:
            return None
        if self._last is not None and self._last.number == numbers[-1]:
            return self._last
        try:
            return self.read(numbers[-1])
        except IntegrityError:
            return None

    def _next_number(self) -> int:
        """Return a number that neither an index has nor a pack whose index a crash kept away. Raises IntegrityError."""
        packs = (_PACK.fullmatch(name) for name, _ in self._store.list("pack-"))
        number = max((*self.numbers(), *(int(match.group(1)) for match in packs if match)), default=0) + 1
        if number > NUMBER_LIMIT:
            raise IntegrityError(
                "the backup place holds a copy with an impossible number", hint="somebody else wrote there: remove it"
            )
        return number

    def _reusable(self, last: Index) -> dict[bytes, Placed]:
        """Return the chunks of the last copy that are still where it put them, by name."""
        if len({item.pack for item in last.chunks}) > PACKS_LIMIT:
            return {}
        sizes = dict(self._store.list("pack-"))
        return {item.name: item for item in last.chunks if item.offset + item.length <= sizes.get(_pack_name(item.pack), 0)}

    def _gather(self, database: bytes, number: int, reuse: dict[bytes, Placed]) -> tuple[bytes, list[Placed]]:
        """Return the new pack's bytes and the chunks in order."""
        pack, chunks = bytearray(), []
        key = _of_number(self._chunk_key, number)
        for start in range(0, len(database), CHUNK):
            piece = database[start : start + CHUNK]
            name = mac.hmac_sha256(self._name_key, piece)[:NAME]
            if name not in reuse:
                sealed = aead.seal(key, piece, CHUNK_LABEL + name)
                reuse[name] = Placed(name, number, len(pack), len(sealed))
                pack += sealed
            chunks.append(reuse[name])
        return bytes(pack), chunks

    def _chunk(self, item: Placed, at: int) -> bytes:
        if item.length > CHUNK + aead.OVERHEAD:
            raise FormatError(f"chunk {at} of the backup is too long")
        buffer = bytearray(item.length)
        try:
            with self._store.open(_pack_name(item.pack)) as source:
                count = source.readinto_at(item.offset, buffer)
        except NotFound:
            raise IntegrityError(f"{_pack_name(item.pack)} of the backup is missing", hint="the copy is not whole") from None
        if count != item.length:
            raise IntegrityError(f"chunk {at} of the backup is cut", hint="the copy is not whole")
        piece = _open(self._chunk_key, item.pack, bytes(buffer), CHUNK_LABEL + item.name)
        mac.check(item.name, mac.hmac_sha256(self._name_key, piece)[:NAME], f"chunk {at} of the backup")
        return piece

    def _prune(self) -> None:
        """Remove indexes beyond the newest two, then packs that neither of those needs."""
        numbers = self.numbers()
        for number in numbers[:-KEPT]:
            self._store.delete(_index_name(number))
        needed: set[int] = set()
        for number in numbers[-KEPT:]:
            needed |= self._packs_of(number)
        for name, _ in list(self._store.list("pack-")):
            match = _PACK.fullmatch(name)
            if match and int(match.group(1)) not in needed and int(match.group(1)) < numbers[-1]:
                self._store.delete(name)

    def _packs_of(self, number: int) -> set[int]:
        try:
            return {item.pack for item in self.read(number).chunks}
        except IntegrityError:
            return set()


def _u64(number: int) -> bytes:
    return struct.pack(">Q", number)


def _of_number(key: Secret, number: int) -> Secret:
    return derive(key, "backup/number", _u64(number))


def _open(key: Secret, number: int, sealed: bytes, aad: bytes) -> bytes:
    """Open under the key of a number, or under the one key that the first copies were sealed with. Raises WrongKey."""
    try:
        return aead.open_(_of_number(key, number), sealed, aad)
    except WrongKey:
        return aead.open_(key, sealed, aad)


def _index_name(number: int) -> str:
    return f"index-{number:012d}"


def _pack_name(number: int) -> str:
    return f"pack-{number:012d}"


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("backup index: expected a count")
    return value


def _digest(value: object) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise FormatError("backup index: expected a digest")
    return bytes.fromhex(value)
