"""Check a version: its signature and every stored byte without any key (`verify`), or down to the plaintext with one (`check`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.drafts import MANIFEST
from hermetic.assets.staging import object_key
from hermetic.domain.verify import verify_details
from hermetic.errors import IntegrityError, NotFound
from hermetic.formats.manifest import ENVELOPE_LIMIT
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.suites import MIB
from hermetic.sealed.verification import verify_ciphertext

if TYPE_CHECKING:
    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.session import Session
    from hermetic.formats.manifest import ManifestObject
    from hermetic.ids import Environment
    from hermetic.stores.base import RangeSource, Store


@dataclass(frozen=True, slots=True)
class Verified:
    """Everything that was looked at is as it was sealed. `bytes` counts ciphertext for `verify`, plaintext for `check`."""

    ref: str
    version: str
    objects: int
    bytes: int


def verify(session: Session, ref: str, environment: Environment | None = None) -> Verified:
    """Check signature, openings and every stored byte, without a key. Raises SignatureError, IntegrityError, NotFound."""
    details = session.ask(ShowVersion(ref, environment))
    manifest = verify_details(details, session.connection.pins)
    store = session.store(details.store)
    _check_copy(store, details.ref, details.version, details.manifest)
    keys = {} if details.place is None else {member.index: (details.place, member.path) for member in details.members}
    total = sum(_verify_object(session, store, (item, details.ref), keys.get(item.index)) for item in manifest.objects)
    return Verified(details.ref, details.version, len(manifest.objects), total)


def check(version: OpenVersion) -> Verified:
    """Read every member to its end. Raises what a reader raises."""
    buffer = memoryview(bytearray(4 * MIB))
    total = 0
    for member in version.members:
        with version.reader(member) as reader:
            done = 0
            while done < reader.length:
                version.leased.guard()
                done += reader.readinto_at(done, buffer)
            total += done
    buffer[:] = bytes(buffer.nbytes)
    return Verified(version.ref, version.released.version, len(version.members), total)


def _check_copy(store: Store, ref: str, version: str, manifest: bytes) -> None:
    try:
        copy = store.read_bytes(f"{version}/{MANIFEST}", limit=ENVELOPE_LIMIT)
    except NotFound:
        return  # a crash between publishing and the copy; opening puts it back
    if copy != manifest:
        raise IntegrityError(
            f"the manifest beside the objects of {ref} is not the one that was published", hint="restore the store from a copy"
        )


def _verify_object(session: Session, store: Store, what: tuple[ManifestObject, str], where: tuple[str, str] | None) -> int:
    """Check one object, in the store or at the plain location (place, key) that its version was sealed to."""
    expected, ref = what
    try:
        source: RangeSource = store.open(object_key(expected.version, expected.index))
    except NotFound:
        if where is None:
            raise NotFound(
                f"object {expected.index} of {ref} is missing from the store", hint="restore the store from a copy"
            ) from None
        from hermetic.assets.delivery import open_located  # noqa: PLC0415 - only what lies at plain locations needs fsspec

        source = open_located(session, where, expected, ref)
    with source:
        verify_ciphertext(source, expected)
        return source.size
