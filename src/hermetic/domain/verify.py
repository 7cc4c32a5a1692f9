"""Checks that need no custody, only pins: manifests and receipts. The steps are numbered as in spec/manifest.md.

A caller that has a verified manifest has the roots of every object, and needs to believe nothing else about the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import IntegrityError, SignatureError
from hermetic.formats.manifest import ManifestOpenings, Opening
from hermetic.signing import manifests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermetic.domain.pinned import PinKeeper
    from hermetic.formats.manifest import Manifest
    from hermetic.formats.messages.catalogue import VersionDetails
    from hermetic.formats.messages.versions import Opening as Opened
    from hermetic.formats.messages.versions import Released


def verify_released(released: Released, pins: PinKeeper) -> Manifest:
    """Return the manifest of a released version. Raises SignatureError, IntegrityError, FormatError."""
    if not released.openings:
        raise IntegrityError(f"custody released {released.ref} without what opens its manifest", hint="run `hermetic log verify`")
    return verify_version(released, released.openings, pins)


def verify_details(details: VersionDetails, pins: PinKeeper) -> Manifest:
    """Return the manifest of a version that custody describes. Raises as `verify_released`."""
    return verify_version(details, details.openings, pins)


def verify_version(said: Released | VersionDetails, opened: Sequence[Opened], pins: PinKeeper) -> Manifest:
    """Check a signed manifest against what custody says about the version."""
    # 1. The envelope is signed by a pinned key, and canonical.
    manifest = verify_pinned(said.manifest, pins)
    # 2. It is of this domain, asset, version and number.
    if (manifest.domain, manifest.asset, manifest.version, manifest.number) != (
        pins.pins.domain,
        said.asset,
        said.version,
        said.number,
    ):
        raise IntegrityError(
            f"the signed manifest given for {said.ref} is of another version", hint="run `hermetic log verify`; restore the catalogue"
        )
    if manifest.environment is not said.environment:
        raise IntegrityError(f"{said.ref} was signed for {manifest.environment.value}, and custody calls it {said.environment.value}")
    # 3. Its commitments open, and the class is the one that custody says. A deleted version has no openings left.
    if opened:
        openings = manifests.check_openings(manifest, _openings(opened))
        data_class = openings.data_class.value
        if data_class != said.data_class.value:
            raise IntegrityError(f"{said.ref} was signed as {data_class}, and custody calls it {said.data_class.value}")
        # The name is not compared: a rename signs nothing anew, and the manifest keeps the name of its time.
    return manifest


def verify_pinned(raw: bytes, pins: PinKeeper) -> Manifest:
    """As `verify_signature`; a key that is not pinned may have come meanwhile, by a change on record."""
    try:
        return verify_signature(raw, pins.manifest_keys)
    except SignatureError:
        if not pins.caught_up():
            raise
        return verify_signature(raw, pins.manifest_keys)


def verify_signature(raw: bytes, keys: Mapping[str, bytes]) -> Manifest:
    """Return the manifest if one of the pinned keys signed it. Raises SignatureError, also when nothing is pinned."""
    if not keys:
        raise SignatureError("no manifest key is pinned", hint="connect to the domain once on a machine you trust")
    return manifests.verify_manifest(raw, keys)


def _openings(opened: Sequence[Opened]) -> ManifestOpenings:
    by_field = {item.field: Opening(item.salt, item.value) for item in opened}
    if by_field.keys() != {"name", "class", "writer"}:
        raise IntegrityError("the openings of a manifest are not name, class and writer")
    return ManifestOpenings(by_field["name"], by_field["class"], by_field["writer"])
