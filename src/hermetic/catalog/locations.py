"""Which object was last put at a location: by the version that was sealed to it, or by a move on record since.

A version that was sealed to locations names its place in its details, and the keys are its members. Moves, copies and removals are
decisions of kind `location` about the asset; each says which number the asset's next version had then, so that both orders are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.catalog import assets, decisions, versions
from hermetic.catalog.values import VersionState
from hermetic.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.catalog.values import Asset, Because, Version
    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import AssetId

KIND = "location"
PLACE = "place"  # in a version's details


@dataclass(frozen=True, slots=True)
class Standing:
    """What was last put at a location: an object, or with an empty version nothing; and when (Unix milliseconds)."""

    version: str
    index: int
    at_ms: int


def place_of(version: Version) -> str | None:
    """Return the place that a version was sealed to, None for one in a store."""
    found = (version.details or {}).get(PLACE)
    return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Change:
    """Object (version, index) is at (place, key) from now on; an empty version: nothing is."""

    place: str
    key: str
    version: str = ""
    index: int = 0


def note(session: Session, asset: Asset, because: Because, changes: Iterable[Change]) -> None:
    """Put changes on record, in their order."""
    first = sum(decision.kind == KIND for decision in decisions.about_asset(session, asset.id))
    for sequence, change in enumerate(changes, first):
        facts = {"place": change.place, "key": change.key, "version": change.version, "index": change.index}
        facts |= {"next": asset.next_number, "sequence": sequence}
        decisions.record(session, KIND, because, asset_id=asset.id, details=facts)


class Locations:
    """The locations of one asset, as one transaction sees them. Versions are read from the latest backwards, as far as needed."""

    def __init__(self, session: ReadSession, asset_id: AssetId) -> None:
        self._session, self._asset = session, assets.get(session, asset_id)
        self._moves: dict[tuple[str, str], dict[str, Any]] | None = None
        self._sealed: dict[tuple[str, str], tuple[int, Standing]] = {}
        self._backwards = self._versions()

    def standing(self, place: str, key: str) -> Standing | None:
        """Return what was last put at a location, None if nothing ever was. Raises RowTampered, FormatError."""
        move = self._moved().get((place, key))
        newest = 0 if move is None else int(move["next"])
        sealed = self._find((place, key), newest)
        if sealed is not None and sealed[0] >= newest:
            return sealed[1]
        return None if move is None else Standing(str(move["version"]), int(move["index"]), int(move["at_ms"]))

    def _find(self, where: tuple[str, str], newest: int) -> tuple[int, Standing] | None:
        """Read versions backwards until one was sealed to `where`, or they are older than number `newest`."""
        while where not in self._sealed:
            version = next(self._backwards, None)
            if version is None:
                return None
            place = place_of(version)
            for member, index, _ in (version.details or {}).get("members", []) if place is not None else ():
                standing = Standing(version.id, index, version.published_ms or 0)
                self._sealed.setdefault((place or "", member), (version.number or 0, standing))
            if (version.number or 0) <= newest and where not in self._sealed:
                return None
        return self._sealed[where]

    def _versions(self) -> Iterator[Version]:
        for number in range(self._asset.next_number - 1, 0, -1):
            found = versions.by_number(self._session, self._asset, number)
            if found.state is VersionState.PUBLISHED:
                yield found

    def _moved(self) -> dict[tuple[str, str], dict[str, Any]]:
        if self._moves is None:
            self._moves = {}
            listed = [item for item in decisions.about_asset(self._session, self._asset.id) if item.kind == KIND]
            for item in sorted(listed, key=_sequence):
                facts = item.details or {}
                self._moves[facts["place"], facts["key"]] = {**facts, "at_ms": item.at_ms}
        return self._moves


def _sequence(item: Any) -> int:
    try:
        return int(item.details["sequence"])
    except (TypeError, KeyError, ValueError):
        raise FormatError("a move of an object is not on record as it was written") from None
