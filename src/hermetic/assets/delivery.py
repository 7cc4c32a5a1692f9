"""Bring the objects of a published version to the plain locations that it was sealed to.

    BeginVersion        with a place; objects are staged in the store like those of any version
    PublishVersion      from here on the version exists, and its objects are read from the store
    delivery            object, then signed manifest, one location after the other; then they leave the store

A note on this machine (`unfinished`) goes around the last two: whoever lists locations finishes them first, and sees all or none.
So files appear whole or not at all, a run may publish what a child process wrote, and a crash between two steps loses nothing: what is
still in the store is brought to its location by the next reading (`finish`), or read from there by name.

Deliveries to one asset's locations happen one at a time on a machine, and each asks custody whether its object is still what belongs
there: the later of two writers wins, whoever is faster. What was replaced before it was delivered stays in the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets import unfinished
from hermetic.assets.grounds import LocalGround
from hermetic.assets.locations import SIDE, ground_at, shown
from hermetic.assets.staging import header_of
from hermetic.domain.verify import verify_details, verify_pinned
from hermetic.errors import FormatError, HermeticError, IntegrityError, NotFound, StorageError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.locations import FindObjects, ObjectAt
from hermetic.steps import reached
from hermetic.stores.durable import make_folders
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.assets.grounds import Ground
    from hermetic.assets.session import Session
    from hermetic.assets.unfinished import Note
    from hermetic.formats.manifest import Manifest, ManifestObject
    from hermetic.formats.messages.locations import ObjectFound
    from hermetic.formats.messages.versions import Member, ObjectRecord
    from hermetic.stores.base import RangeSource, Store

LOCK = "locations.lock"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A published version on its way: `keys` maps the index of each object to where it goes."""

    manifest: Manifest
    envelope: bytes
    store: str
    place: str
    keys: dict[int, str]


def deliver_published(session: Session, where: tuple[str, str], envelope: bytes, records: tuple[ObjectRecord, ...]) -> None:
    """Deliver what was just published: `where` is (store, place). Raises StorageError; then the next reading finishes it."""
    manifest = verify_pinned(envelope, session.connection.pins)
    delivery = Delivery(manifest, envelope, *where, {record.index: record.member for record in records})
    try:
        _deliver(session, delivery)
    except HermeticError as error:
        raise StorageError(
            f"the version is published, but not all of its files are where they belong: {error.message}",
            hint="nothing is lost: it is opened by its name, and the next reading through sealed:: brings the files there",
        ) from error


def finish(session: Session, ref: str) -> bool:
    """Deliver what an earlier process did not; return whether there was anything. Raises StorageError, IntegrityError."""
    details = session.ask(ShowVersion(ref))
    store = session.connection.stores.get(details.store)
    if details.place is None or store is None:
        return False
    manifest = verify_details(details, session.connection.pins)
    left = _left(store, manifest, details.members)
    if left:
        _deliver(session, Delivery(manifest, details.manifest, details.store, details.place, left))
    else:
        unfinished.delivered(session, manifest.version)
    return bool(left)


def finish_where(session: Session, matters: Callable[[str, str], bool]) -> bool:
    """Finish the versions of which a file goes to a (place, key) that matters; return whether there were any.

    Raises what `finish` raises: half of a version is never shown for all of it.
    """
    chosen = [
        note
        for note in unfinished.deliveries(session)
        if any(matters(note.facts["place"], member) for _, _, member in note.facts["objects"])
    ]
    finished = [_finish_noted(session, note) for note in chosen]
    return any(finished)


def _finish_noted(session: Session, note: Note) -> bool:
    left = note.is_left  # asked first: what nobody publishes any more and custody does not know never will be
    found = _noted(session, note)
    if found.state != "unknown":
        ref = f"{found.name}@{found.number}"
        finish(session, ref)
        if note.exists:
            raise StorageError(f"not all files of {ref} are where they belong", hint="its store is not in hermetic.yaml any more")
        return True
    if left:
        note.remove()
    return False


def _noted(session: Session, note: Note) -> ObjectFound:
    index, object_id, member = note.facts["objects"][0]
    asked = ObjectAt(note.facts["place"], member, "", note.facts["version"], object_id, index)
    return session.ask(FindObjects((asked,))).found[0]


def open_located(session: Session, where: tuple[str, str], expected: ManifestObject, ref: str) -> RangeSource:
    """Open the object of version `ref` at (place, key), where it was sealed to. Raises NotFound if it is not there any more."""
    url = shown(session, *where)
    gone = NotFound(
        f"an object of {ref} was sealed to {url} and is not there", hint="it was moved, replaced or removed: read it where it is now"
    )
    try:
        ground, root = ground_at(session, where[0])
        source = ground.open(f"{root}/{where[1]}")
    except NotFound as error:
        raise gone from error
    except IsADirectoryError as error:
        raise gone from error
    try:
        header = header_of(source)
    except FormatError:
        source.close()
        raise
    if (header.version, header.object) != (expected.version, expected.id):
        source.close()
        raise gone
    return source


def object_key(manifest: Manifest, index: int) -> str:
    """Return where an object lies in its store."""
    return f"{manifest.version}/{index}.sealed"


def side_of(path: str) -> str:
    """Return where the signed manifest beside an object lies."""
    return path + SIDE


@contextmanager
def locked(session: Session, asset: str) -> Iterator[None]:
    """Hold off other deliveries to an asset's locations on this machine. Raises StorageError."""
    connection = session.connection
    folder = connection.home.domain_config(connection.project.domain)
    try:
        make_folders(folder)
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot lock {folder / LOCK}: {error.strerror}", hint="check the folder's permissions") from error
    try:
        _take(fd, int.from_bytes(hashlib.sha256(asset.encode()).digest()[:7], "big"))
        yield
    finally:
        os.close(fd)


def _take(fd: int, start: int) -> None:
    """Lock one byte of an open file, the whole file where the system has no locks that two threads respect."""
    if hasattr(fcntl, "F_OFD_SETLKW"):
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
    else:
        fcntl.flock(fd, fcntl.LOCK_EX)


def _left(store: Store, manifest: Manifest, members: tuple[Member, ...]) -> dict[int, str]:
    return {member.index: member.path for member in members if store.exists(object_key(manifest, member.index))}


def _deliver(session: Session, delivery: Delivery) -> None:
    store = session.store(delivery.store)
    ground, root = ground_at(session, delivery.place)
    with locked(session, delivery.manifest.asset):
        for index in _still_belong(session, delivery):
            key = object_key(delivery.manifest, index)
            path = f"{root}/{delivery.keys[index]}"
            with suppress(NotFound):  # another process has finished it meanwhile
                with store.open(key) as source:
                    if source.size != delivery.manifest.objects[index].length:
                        raise IntegrityError("an object on its way to its location was changed", hint="write it again")
                    if not _moved(store, key, (ground, path)):
                        ground.put(path, source)
                reached("delivery.object.put")
                ground.put_bytes(side_of(path), delivery.envelope)
                reached("delivery.manifest.put")
                with suppress(NotFound):  # moved, not copied
                    store.delete(key)
        _tidy(store, delivery)
        unfinished.delivered(session, delivery.manifest.version)


def _moved(store: Store, key: str, target: tuple[Ground, str]) -> bool:
    """Move an object out of a local store where that is a renaming; a crash right after leaves a manifest to be put back."""
    ground, path = target
    return isinstance(store, LocalStore) and isinstance(ground, LocalGround) and ground.take(path, store.root / key)


def _still_belong(session: Session, delivery: Delivery) -> list[int]:
    """Return the objects that custody still expects at their locations."""
    manifest, indices = delivery.manifest, sorted(delivery.keys)
    asked = tuple(
        ObjectAt(delivery.place, delivery.keys[index], manifest.asset, manifest.version, manifest.objects[index].id, index)
        for index in indices
    )
    found = session.ask(FindObjects(asked)).found
    return [index for index, answer in zip(indices, found, strict=True) if answer.state == "here"]


def _tidy(store: Store, delivery: Delivery) -> None:
    """Remove what is left of the version's folder once no object lies in it."""
    folder = f"{delivery.manifest.version}/"
    left = [key for key, _ in store.list(folder)]
    if left == [f"{folder}manifest.json"]:
        with suppress(NotFound):
            store.delete(left[0])
