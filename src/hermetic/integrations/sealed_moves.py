"""Moving, copying and removing sealed objects at locations of one asset, so that a crash destroys nothing and alarms nobody.

One step for each file, with deliveries to its asset held off:

    note            on this machine: from where to where (`assets.unfinished`)
    PlaceObjects    custody records both ends at once, and refuses if something else was put at the source since it was looked at
    carrying out    object and manifest at the target, then, for a move, nothing at the source; the note goes

Whoever looks at either end after a crash finds the note and carries out what custody recorded, and no more than that: an object is
brought to where custody expects it, and taken away from where custody says that nothing is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem

from hermetic.assets import unfinished
from hermetic.assets.delivery import locked
from hermetic.assets.ground_caches import innermost
from hermetic.errors import FormatError, HermeticError, StorageError, UsageError
from hermetic.formats.messages.locations import FindObjects, ObjectAt, PlaceObjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.assets.locations import Location
    from hermetic.assets.unfinished import Note
    from hermetic.integrations.sealed_objects import SealedObjects, Seen


def pairs(fs: Any, paths: tuple[Any, Any], *, recursive: bool, maxdepth: int | None) -> list[tuple[str, str]]:
    """Return (source, target) of everything that fsspec's own `copy` would copy, folders before what is in them."""
    collected = _Collected(fs)
    AbstractFileSystem.copy(collected, *paths, recursive=recursive, maxdepth=maxdepth, on_error="raise")
    return collected.pairs


class _Collected:
    """Stands for a file system in fsspec's `copy`, and copies nothing."""

    def __init__(self, fs: Any) -> None:
        self.expand_path, self.isdir = fs.expand_path, fs.isdir
        self.pairs: list[tuple[str, str]] = []

    def cp_file(self, source: str, target: str, **_: Any) -> None:
        """Note what would be copied."""
        self.pairs.append((source, target))


def is_one_location(objects: SealedObjects, source: Location, target: Location) -> bool:
    """Whether two paths are one location. Raises UsageError for two locations with one file."""
    if (source.place, source.key) == (target.place, target.key):
        return True
    if objects.ground.is_one_file(source.path, target.path):
        raise UsageError(
            f"{source.path!r} and {target.path!r} are one file under two names", hint="remove one name with the system's own tools"
        )
    return False


def transfer(objects: SealedObjects, seen: Seen, target: Location, *, leaves: bool, purpose: Any) -> None:
    """Copy an object that was looked at to `target`; if it `leaves`, remove it where it was. Raises Conflict, StorageError."""
    there = replace(seen.at(), place=target.place, key=target.key)
    with locked(objects.session, seen.at().asset):
        objects.require_still(seen.location.path, seen)
        request = PlaceObjects((there,), objects.removals(seen) if leaves else (), purpose)
        _record(objects, request, _facts(objects, seen.at(), target, leaves=leaves))


def remove(objects: SealedObjects, seen: Seen, purpose: Any) -> None:
    """Remove an object that was looked at. Raises Conflict, StorageError."""
    with locked(objects.session, seen.at().asset):
        objects.require_still(seen.location.path, seen)
        removals = objects.removals(seen)
        if removals:
            _record(objects, PlaceObjects((), removals, purpose), _facts(objects, seen.at(), None, leaves=True))
        else:  # custody knows of nothing there
            objects.remove(seen.location.path)


def _record(objects: SealedObjects, request: PlaceObjects, facts: dict[str, Any]) -> None:
    note = unfinished.note_move(objects.session, facts)
    try:
        objects.session.ask(request)
    except HermeticError:
        with suppress(HermeticError):  # the refusal is told; what is not known to have been refused stays noted
            _carry_out(objects, note)
        raise
    try:
        _carry_out(objects, note)
    except HermeticError as error:
        raise StorageError(
            f"it is on record, but not all files are where they belong: {error.message}",
            hint="nothing is lost: the next look at the locations finishes it",
        ) from error


def settle(objects: SealedObjects, matters: Callable[[str], bool]) -> bool:
    """Carry out what a crash interrupted at any path that matters; return whether there was anything. Raises StorageError."""
    done = False
    for note in unfinished.moves(objects.session):
        if note.facts.get("protocol") == _protocol(objects) and any(
            path is not None and matters(path) for path in _ends(objects, note)
        ):
            with locked(objects.session, str(note.facts["asset"])):
                if note.exists:
                    _carry_out(objects, note)
            done = True
    return done


def _carry_out(objects: SealedObjects, note: Note) -> None:
    """Bring the object to the target if custody expects it there, and remove it at the source if custody says that it was removed."""
    move = note.facts
    source, target = _ends(objects, note)
    place, key = move["source"]
    here = ObjectAt(place, key, move["asset"], move["version"], move["object"], move["index"])
    there = replace(here, place=move["target"][0], key=move["target"][1]) if move["target"] else here
    at_source, at_target = objects.session.ask(FindObjects((here, there))).found
    if source is not None and objects.holds(source, here):
        if target is not None and at_target.state == "here":
            objects.copy(source, at_target, target)
        if _may_go(move, at_source.state, at_target.state) and (target is None or not objects.ground.is_one_file(source, target)):
            objects.remove(source)
    note.remove()


def _may_go(move: dict[str, Any], at_source: str, at_target: str) -> bool:
    """Whether what lies at the source was moved away on record; of a source in no known place the record at the target says so."""
    return bool(move["leaves"]) and (
        at_source == "removed" or (at_source == "anywhere" and at_target == "here" and bool(move["target"]))
    )


def _facts(objects: SealedObjects, what: ObjectAt, target: Location | None, *, leaves: bool) -> dict[str, Any]:
    return {
        "asset": what.asset,
        "version": what.version,
        "object": what.object,
        "index": what.index,
        "source": [what.place, what.key],
        "target": None if target is None else [target.place, target.key],
        "leaves": leaves,
        "protocol": _protocol(objects),
    }


def _ends(objects: SealedObjects, note: Note) -> tuple[str | None, str | None]:
    try:
        source, target = note.facts["source"], note.facts["target"]
        return objects.path_at(*source), objects.path_at(*target) if target else None
    except (KeyError, TypeError):
        raise FormatError(f"{note.path} is no note of Hermetic's", hint="remove it") from None


def _protocol(objects: SealedObjects) -> str:
    protocol = innermost(objects.fs).protocol
    return protocol if isinstance(protocol, str) else str(protocol[0])
