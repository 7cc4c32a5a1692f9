"""Sealed objects and signed manifests of published versions, copied to the backup place and back (spec/backup.md section 1).

They are ciphertext already and are copied byte for byte, only what is missing. Every byte is checked against the signed manifest
before it is written, so a damaged store does not spread into the backup, nor a damaged backup into the store. What could not
be copied is told, and stops nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.assets.session import Session
from hermetic.domain.listing import list_assets
from hermetic.domain.verify import verify_details
from hermetic.errors import IntegrityError, NotFound
from hermetic.formats.findings import Finding
from hermetic.formats.manifest import ENVELOPE_LIMIT
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.sealed.copying import copy_verified
from hermetic.steps import reached
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermetic.domain.connect import Connection
    from hermetic.formats.manifest import Manifest, ManifestObject
    from hermetic.formats.messages.catalogue import VersionDetails
    from hermetic.stores.base import RangeSource, Store

FOLDER = "objects"
MANIFEST = "manifest.json"


@dataclass(slots=True)
class Copied:
    """What was done: `versions` looked at, `objects` copied with their `bytes`, and what could not be."""

    versions: int = 0
    objects: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


def objects_store(place: Path, domain: str) -> LocalStore:
    """Return the part of a backup place that holds objects."""
    return LocalStore(place / domain / FOLDER)


def copy_out(connection: Connection, place: Path, advance: Callable[[int], None] = lambda _count: None) -> Copied:
    """Copy what the backup place lacks. Raises StorageError when it cannot be written, and what custody refuses with."""
    there = objects_store(place, connection.project.domain)
    return _copy(connection, lambda details: (connection.stores.get(details.store), there), advance)


def bring_back(connection: Connection, place: Path, advance: Callable[[int], None] = lambda _count: None) -> Copied:
    """Copy what the stores lack from the backup place. Raises as `copy_out`."""
    here = objects_store(place, connection.project.domain)
    return _copy(connection, lambda details: (here, connection.stores.get(details.store)), advance)


def _copy(
    connection: Connection, way: Callable[[VersionDetails], tuple[Store | None, Store | None]], advance: Callable[[int], None]
) -> Copied:
    done = Copied()
    for details in _published(connection):
        source, target = way(details)
        if source is None or target is None:
            done.findings.append(_failed(details.ref, f"this machine does not know the store {details.store!r}"))
        else:
            _copy_version(connection, details, (source, target), done)
        done.versions += 1
        advance(1)
    reached("recovery.objects.copied")
    return done


def _published(connection: Connection) -> Iterator[VersionDetails]:
    for row in list_assets(connection.ask):
        for number in range(1, row.latest + 1):
            try:
                yield connection.ask(ShowVersion(f"{row.name}@{number}", row.environment))
            except NotFound:
                continue  # deleted: its key is gone, nobody needs the bytes


def _copy_version(connection: Connection, details: VersionDetails, way: tuple[Store, Store], done: Copied) -> None:
    source, target = way
    keys: dict[int, tuple[str, str]] = {}
    if details.place is not None and source is connection.stores.get(details.store):  # not when bringing back
        keys = {member.index: (details.place, member.path) for member in details.members}
    try:
        manifest = verify_details(details, connection.pins)
        for item in manifest.objects:
            key = f"{item.version}/{item.index}.sealed"
            if not target.exists(key):
                with _reading(connection, source, (item, details.ref), keys.get(item.index)) as reading:
                    _copy_object(reading, target, item, done)
        _put_manifest(target, manifest, details)
    except NotFound as error:
        if details.place is None:  # at plain locations, what was replaced or moved away is nobody's to keep
            done.findings.append(_failed(details.ref, error.message))
    except IntegrityError as error:
        done.findings.append(_failed(details.ref, error.message))


def _reading(connection: Connection, source: Store, what: tuple[ManifestObject, str], where: tuple[str, str] | None) -> RangeSource:
    """Open an object in a store, or at the plain location (place, key) that it was sealed to. Raises NotFound."""
    item, ref = what
    try:
        return source.open(f"{item.version}/{item.index}.sealed")
    except NotFound:
        if where is None:
            raise
    from hermetic.assets.delivery import open_located  # noqa: PLC0415 - only what lies at plain locations needs fsspec

    return open_located(Session(connection), where, item, ref)


def _copy_object(reading: RangeSource, target: Store, item: ManifestObject, done: Copied) -> None:
    key = f"{item.version}/{item.index}.sealed"
    with target.stage(key) as staged:
        length = copy_verified(reading, item, staged)
        staged.commit()
    done.objects += 1
    done.bytes += length


def _put_manifest(target: Store, manifest: Manifest, details: VersionDetails) -> None:
    key = f"{manifest.version}/{MANIFEST}"
    if not target.exists(key):
        target.put_bytes(key, details.manifest)
    elif target.read_bytes(key, limit=ENVELOPE_LIMIT) != details.manifest:
        raise IntegrityError(f"the manifest of {details.ref} there is another one than was published")


def _failed(ref: str, why: str) -> Finding:
    return Finding("object-not-copied", "high", ref, why, f"hermetic verify {ref}; restore its objects from a good copy")
