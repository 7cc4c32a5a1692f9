"""Sealed objects at plain locations: what they are, whether they belong there, and their content.

An object says by the ids in its header which version it is of; nothing else about it is believed. Custody says whether it is what was
last put there, then releases the version by name and number as for any other opening; every byte is checked against the signed
manifest that came with the release. The manifest beside the object serves those who verify without custody: it is compared, put back
where a crash or an overwriting left none or an older one, and refused if anybody else changed it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.assets.delivery import finish, finish_where, side_of
from hermetic.assets.ground_caches import caches_of, innermost
from hermetic.assets.ground_errors import far_errors
from hermetic.assets.grounds import LocalGround, ground_of, read_small
from hermetic.assets.locations import SIDE, Location, is_in_folder_of_store, locate, path_at
from hermetic.assets.staging import header_of
from hermetic.domain.verify import verify_pinned
from hermetic.errors import Conflict, FormatError, HermeticError, IntegrityError, InvalidName, NotFound
from hermetic.formats.manifest import ENVELOPE_LIMIT
from hermetic.formats.messages.locations import FindObjects, ObjectAt, ObjectFound
from hermetic.formats.object_header import FIXED, parse_fixed, parse_prefix
from hermetic.ids import AssetName
from hermetic.integrations.sealed_moves import settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.assets.grounds import Ground
    from hermetic.assets.opening import MemberFile
    from hermetic.assets.releases import OpenVersion
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.ids import Purpose
    from hermetic.integrations.attached import Attached
    from hermetic.stores.base import RangeSource

GOOD = frozenset({"here", "anywhere"})
TRIES = 8  # times that something may be replaced while it is being looked at
_HEAD = 4096
_BATCH = 1000
_WRONG = {
    "elsewhere": "an object of {name}@{number} lies here, and was not put here by anybody that custody knows",
    "replaced": "an object of {name}@{number} lies here, where {instead} was put since",
    "removed": "an object of {name}@{number} lies here, from where it was removed",
    "unknown": "what lies here is no object of a version that custody knows",
    "foreign": "what lies here belongs to another domain",
    "plain": "a plain or foreign file lies here in the place of a sealed object",
}
_HINTS = {
    "elsewhere": "move files with this file system's mv and cp, which note it; what another program moved, it must put back",
    "replaced": "an older state was put back, or files were exchanged: find out who did it, then write it again",
    "removed": "somebody put it back: find out who did it, then write it again",
    "unknown": "was custody restored from an older backup? `hermetic log verify` tells",
    "foreign": "open it in the project of that domain",
    "plain": "read it without sealed::, or remove it and write it through sealed::",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A file at a location: what custody says of it, if it is an object of this domain; `stored` is its length as it lies there."""

    location: Location
    stored: int
    header: ObjectHeader | None
    found: ObjectFound

    @property
    def good(self) -> bool:
        """Whether it is an object that belongs there, or lies where nothing is on record."""
        return self.found.state in GOOD

    def require(self) -> None:
        """Raise IntegrityError unless it is good."""
        state = self.found.state
        if not self.good:
            facts = {"name": self.found.name, "number": self.found.number, "instead": self.found.instead}
            raise (FormatError if state == "plain" else IntegrityError)(
                f"{self.location.path!r}: {_WRONG[state].format(**facts)}", hint=_HINTS[state]
            )

    def at(self) -> ObjectAt:
        """Return it as custody is told of it."""
        if self.header is None:
            return ObjectAt(self.location.place, self.location.key)
        header = self.header
        return ObjectAt(self.location.place, self.location.key, header.asset, header.version, header.object, header.index)


class SealedObjects:
    """The locations that one file system leads to, for one domain."""

    def __init__(self, files: Attached, fs: Any) -> None:
        self._files, self.fs = files, fs
        self.ground: Ground = ground_of(fs)

    @property
    def session(self) -> Any:
        """The session with custody."""
        return self._files.session

    def locate(self, path: str) -> Location:
        """Return where a path is."""
        return locate(self.session, self.fs, path)

    def path_at(self, place: str | None, key: str) -> str | None:
        """Return the path of a location, None if this file system does not lead there."""
        return path_at(self.session, self.fs, (place, key))

    def _located(self, path: str) -> Location:
        try:
            return self.locate(path)
        except InvalidName:  # somebody's file that cannot be ours
            return Location(path, None, path)

    # looking

    def look(self, path: str) -> Seen:
        """Say what lies at a path; what a crash left undelivered is brought there first. Raises NotFound, IntegrityError."""
        location = self.locate(path)
        for _ in range(TRIES):
            try:
                source = self.ground.open(path)
            except NotFound:
                if not self._settle(location) and not self._bring(location):
                    raise
                continue
            with source:
                seen = self._judge([(location, source.size, _claimed(source))])[0]
            if seen.good or not self._moves_on(path, seen, seen.found.instead):
                return seen
        raise Conflict(f"{path!r} is being written all the time", hint="try again")

    def look_at_many(self, entries: Sequence[tuple[str, int]]) -> list[Seen | None]:
        """Say what lies at paths with known lengths; None for what is gone by now."""
        locations = [self._located(path) for path, _ in entries]
        headers = self._headers(entries)
        seen = self._judge([(location, size, head) for location, (_, size), head in zip(locations, entries, headers, strict=True)])
        return [self._again(item) if self._may_move_on(item) else item for item in seen]

    def settle_below(self, path: str) -> bool:
        """Finish what a crash left half done at files below a folder; return whether there was anything. Raises StorageError."""
        beginning = self._located(f"{path}/x").path.removesuffix("x")
        moved = settle(self, lambda end: end.startswith(beginning))
        return finish_where(self.session, lambda place, key: (self.path_at(place, key) or "").startswith(beginning)) or moved

    def belongs(self, location: Location) -> ObjectFound | None:
        """Return what custody expects at a location, None for nothing."""
        if location.place is None:
            return None
        (found,) = self.session.ask(FindObjects((ObjectAt(location.place, location.key),))).found
        return found if found.state == "here" else None

    def _moves_on(self, path: str, seen: Seen, ref: str) -> bool:
        """Whether something else lies at a path by now: brought there by us or by a writer meanwhile, or there behind a cache."""
        if self._settle(seen.location) or (ref and finish(self.session, ref)):
            return True
        self._look_past_caches(path)
        try:
            with self.ground.open(path) as source:
                return _claimed(source) != seen.header
        except NotFound:
            return True

    def _may_move_on(self, seen: Seen) -> bool:
        """Whether looking again may show something else: what others keep in a folder of theirs is looked at once."""
        return not seen.good and (seen.found.state not in {"plain", "foreign"} or bool(caches_of(self.fs)))

    def _again(self, seen: Seen) -> Seen | None:
        try:
            return self.look(seen.location.path)
        except NotFound:
            return None
        except (InvalidName, IsADirectoryError, IntegrityError, Conflict):
            return seen

    def _settle(self, location: Location) -> bool:
        return settle(self, lambda end: end == location.path)

    def _look_past_caches(self, path: str) -> None:
        """From here on have this operation read what lies in the storage: a cache may hold what another process has replaced."""
        if caches_of(self.fs):
            for name in (path, side_of(path)):
                self.ground.forget(name)
            self.ground = ground_of(innermost(self.fs))

    def _bring(self, location: Location) -> bool:
        expected = self.belongs(location)
        return expected is not None and finish(self.session, f"{expected.name}@{expected.number}")

    def _headers(self, entries: Sequence[tuple[str, int]]) -> list[ObjectHeader | None]:
        if isinstance(self.ground, LocalGround):
            return [self._header_at(path) for path, _ in entries]
        paths = [path for path, _ in entries]
        with far_errors("read", paths[0] if paths else ""):
            heads = self.fs.cat_ranges(paths, [0] * len(paths), [min(_HEAD, size) for _, size in entries], on_error="return")
        return [self._parsed(path, head) for path, head in zip(paths, heads, strict=True)]

    def _parsed(self, path: str, head: Any) -> ObjectHeader | None:
        if not isinstance(head, bytes):
            return None  # gone or unreadable meanwhile: opening it says which
        try:
            length = FIXED.size + parse_fixed(head[: FIXED.size]) if len(head) >= FIXED.size else len(head) + 1
            return parse_prefix(head[:length]) if length <= len(head) else self._header_at(path)
        except FormatError:
            return None

    def _header_at(self, path: str) -> ObjectHeader | None:
        try:
            with self.ground.open(path) as source:
                return _claimed(source)
        except (NotFound, IntegrityError):
            return None

    def _judge(self, items: list[tuple[Location, int, ObjectHeader | None]]) -> list[Seen]:
        seen: list[Seen] = []
        for location, size, header in items:
            state = "plain" if header is None else "foreign" if header.domain != self.session.domain else "unknown"
            seen.append(Seen(location, size, header, ObjectFound(state)))
        asked = [index for index, item in enumerate(seen) if item.found.state == "unknown"]
        for start in range(0, len(asked), _BATCH):
            part = asked[start : start + _BATCH]
            answer = self.session.ask(FindObjects(tuple(seen[index].at() for index in part)))
            if len(answer.found) != len(part):
                raise IntegrityError("custody answered for another number of objects than it was asked about")
            for index, found in zip(part, answer.found, strict=True):
                seen[index] = Seen(seen[index].location, seen[index].stored, seen[index].header, found)
        return seen

    # changing

    def holds(self, path: str, what: ObjectAt) -> bool:
        """Whether the file at a path says that it is a certain object."""
        try:
            with self.ground.open(path) as source:
                header = _claimed(source)
        except NotFound:
            return False
        return header is not None and (header.version, header.object, header.index) == (what.version, what.object, what.index)

    def copy(self, path: str, found: ObjectFound, target: str) -> None:
        """Copy an object that was looked at, with its signed manifest; what was there before is replaced."""
        details = self._files.details(AssetName.parse(found.name), found.number)
        if details is None:
            raise IntegrityError(f"custody does not know {found.name}@{found.number} any more", hint="run `hermetic log verify`")
        self.ground.copy(path, target)
        self.ground.put_bytes(side_of(target), details.manifest)

    def remove(self, path: str) -> None:
        """Remove an object and its manifest."""
        self.ground.delete(path)
        with suppress(NotFound):
            self.ground.delete(side_of(path))

    def removals(self, seen: Seen) -> tuple[ObjectAt, ...]:
        """Return what custody is told of a removal: nothing is at this location, neither what lay there nor what belonged there.

        What belongs there is named, so that what somebody else puts there meanwhile is not removed with it.
        """
        if seen.found.state == "here":
            return (seen.at(),)
        if seen.found.state not in {"replaced", "removed"}:
            return ()
        said = seen.found.instead.rpartition("@")
        expected = self._files.details(AssetName.parse(said[0]), int(said[2])) if said[0] else None
        assets = dict.fromkeys([seen.at().asset, *([] if expected is None else [expected.asset])])
        return tuple(ObjectAt(seen.location.place, seen.location.key, asset) for asset in assets)

    def require_still(self, path: str, seen: Seen) -> None:
        """Raise Conflict if something else lies at a path by now; called with deliveries held off."""
        with self.ground.open(path) as source:
            if _claimed(source) != seen.header:
                raise Conflict(f"{path!r} was written just now", hint="look at it, then try again")

    # reading

    def open(self, path: str, purpose: Purpose | str | None) -> MemberFile:
        """Open what lies at a path. Raises NotFound, IntegrityError, and whatever opening by name raises."""
        for _ in range(TRIES):
            seen = self.look(path)
            if is_in_folder_of_store(self.session, seen.location) and seen.found.state == "elsewhere":
                name = f"hermetic://{seen.found.name}@{seen.found.number}"
                raise IntegrityError(f"{path!r} lies in a store", hint=f"read it by name: {name}")
            seen.require()
            try:
                return self._open(path, seen, purpose)
            except IntegrityError:  # the truth, unless its delivery was interrupted, or it was replaced while we looked
                if not self._moves_on(path, seen, f"{seen.found.name}@{seen.found.number}"):
                    raise
        raise Conflict(f"{path!r} is being written all the time", hint="try again")

    def _open(self, path: str, seen: Seen, purpose: Purpose | str | None) -> MemberFile:
        found = seen.found
        version = self._files.released(found.name, found.number, purpose, self.session.run_for(None))
        if version.released.lease.version != found.version:
            raise IntegrityError(f"custody was asked about {path!r} and released another version", hint="run `hermetic log verify`")
        self._compare_side(path, seen, version)
        return version.open(found.member, source=self.ground.open(path))

    def _compare_side(self, path: str, seen: Seen, version: OpenVersion) -> None:
        """Compare the manifest beside an object with the one released. Raises IntegrityError for one that somebody changed."""
        expected = version.released.manifest
        try:
            side = read_small(self.ground.open(side_of(path)), ENVELOPE_LIMIT)
        except NotFound:
            side = b""
        if side == expected:
            return
        if side and not self._is_earlier(side, version):
            raise IntegrityError(
                f"the manifest beside {path!r} is not the signed one", hint=f"remove {side_of(path)!r}: the next reading puts it back"
            )
        if seen.found.state == "here":
            with suppress(HermeticError):  # storage that may not be written is fine: custody has the manifest
                self.ground.put_bytes(side_of(path), expected)

    def _is_earlier(self, side: bytes, version: OpenVersion) -> bool:
        """Whether a manifest is a signed one of an earlier version of the asset: what an interrupted overwriting leaves."""
        try:
            manifest = verify_pinned(side, self.session.connection.pins)
        except IntegrityError:
            return False
        return manifest.asset == version.manifest.asset and manifest.number < version.manifest.number


def is_side(path: str) -> bool:
    """Whether a name is that of a signed manifest beside an object."""
    return path.endswith(SIDE)


def _claimed(source: RangeSource) -> ObjectHeader | None:
    """Return the header of a sealed object as it claims to be, None for a file that is none."""
    try:
        return header_of(source)
    except FormatError:
        return None
