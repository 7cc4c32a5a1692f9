"""Plain locations: sealed objects that lie at paths of their users' choosing, beside files of other people (`sealed::`).

A location is a place and a key. The place is a store of hermetic.yaml, or empty for the project's folder; the key is relative to its
root. What lies at a location says by the ids in its header which object it is; only custody says whether it belongs there.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Done, Request
from hermetic.ids import Purpose


@dataclass(frozen=True, slots=True)
class ObjectAt:
    """An object as its header names it, and the location where it was found; `place` None: in no place that is known here.

    With an empty `version` nothing was found, and the question is what belongs there.
    """

    place: str | None
    key: str
    asset: str = ""
    version: str = ""
    object: str = ""
    index: int = 0


@message("find-objects")
@dataclass(frozen=True, slots=True)
class FindObjects(Request["ObjectsFound"]):
    """Which members of which versions are these, and do they belong where they were found? Releases nothing."""

    objects: tuple[ObjectAt, ...]


@dataclass(frozen=True, slots=True)
class ObjectFound:
    """One answer. `state` is one of

    here        what was last put at this location
    anywhere    an object of a version; nothing is on record about places that are not known
    elsewhere   an object of a version that was never put here
    replaced    another object was put here since; `instead` is its reference
    removed     it was removed from here since
    unknown     no object of a published version: everything below is empty
    nothing     (for an empty question) nothing belongs here

    `number`, `member`, `length` (plaintext bytes) and `published_ms` are of the object, for an empty question of what belongs here.
    """

    state: str
    name: str = ""
    number: int = 0
    version: str = ""
    index: int = 0
    member: str = ""
    length: int = 0
    published_ms: int = 0
    instead: str = ""


@message("objects-found")
@dataclass(frozen=True, slots=True)
class ObjectsFound:
    """One answer for each object, in the order asked."""

    found: tuple[ObjectFound, ...]


@message("place-objects")
@dataclass(frozen=True, slots=True)
class PlaceObjects(Request[Done]):
    """Put on record that objects were copied to, and removed from, locations of their asset; removals come last.

    A location belongs to the asset that the rules give for it, so nothing is placed at a location of another one. A removal that names
    a version is refused once something else was put there; without one, whatever is there goes.
    """

    placed: tuple[ObjectAt, ...]
    removed: tuple[ObjectAt, ...] = ()
    purpose: Purpose | None = None  # as for sealing: who may write there may move what lies there
