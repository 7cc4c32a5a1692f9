"""Sign, verify and hash manifests, and open their commitments (spec/manifest.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.crypto import mac
from hermetic.errors import FormatError
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.manifest import (
    ENVELOPE_LIMIT,
    PAYLOAD_TYPE,
    Commitments,
    Manifest,
    ManifestOpenings,
    Opening,
    parse_manifest,
)
from hermetic.signing.envelopes import sign_envelope, verify_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.crypto.sign import Signer


def sign_manifest(manifest: Manifest, signing_key: Signer, key_id: str) -> bytes:
    """Return the signed envelope, as it is stored beside the objects. Raises FormatError if the manifest cannot be written."""
    return sign_envelope(manifest.encode(), PAYLOAD_TYPE, signing_key, key_id)  # a manifest's own limit keeps it below ENVELOPE_LIMIT


def verify_manifest(raw: bytes, trusted_public_keys: Mapping[str, bytes]) -> Manifest:
    """Return the manifest in `raw`, signed by one of the trusted keys (key id to 32-byte public key).

    Raises FormatError, SignatureError. The caller MUST still check that it is the version it asked for (domain, asset, version id),
    that its number is not below what it has pinned, and, if it shows names, `check_openings`.
    """
    # 1. to 4. The envelope is canonical, of this type, and signed by a trusted key.
    envelope = verify_envelope(raw, PAYLOAD_TYPE, trusted_public_keys, limit=ENVELOPE_LIMIT)
    # 5. The payload is a canonical manifest.
    return parse_manifest(envelope.payload)


def manifest_hash(raw: bytes) -> bytes:
    """Return SHA-256 of the payload bytes in the envelope `raw`, which the next version's `previous` holds. Raises FormatError."""
    return mac.sha256(parse_envelope(raw, limit=ENVELOPE_LIMIT).payload)


def new_openings(
    *, name: str, data_class: str, writer: str, random: Callable[[int], bytes] = os.urandom
) -> tuple[ManifestOpenings, Commitments]:
    """Return fresh openings of the three values and the commitments to them."""
    openings = ManifestOpenings(*(Opening(random(mac.SALT), value) for value in (name, data_class, writer)))
    return openings, commitments_of(openings)


def commitments_of(openings: ManifestOpenings) -> Commitments:
    """Return the commitments that the openings open. Raises FormatError for a salt of another length than 32 bytes."""
    return Commitments(
        name=_commit("name", openings.name),
        data_class=_commit("class", openings.data_class),
        writer=_commit("writer", openings.writer),
    )


def check_openings(manifest: Manifest, openings: ManifestOpenings) -> ManifestOpenings:
    """Return `openings` if they are what the manifest committed to. Raises IntegrityError naming the field that is not."""
    expected, found = manifest.commitments, commitments_of(openings)
    mac.check(expected.name, found.name, "the name in the signed manifest")
    mac.check(expected.data_class, found.data_class, "the class in the signed manifest")
    mac.check(expected.writer, found.writer, "the writer in the signed manifest")
    return openings


def _commit(field: str, opening: Opening) -> bytes:
    if len(opening.salt) != mac.SALT:
        raise FormatError(f"the salt that opens the {field} has not {mac.SALT} bytes")
    try:
        return mac.commitment(opening.salt, field, opening.value.encode("utf-8"))
    except UnicodeEncodeError:
        raise FormatError(f"the {field} that was committed to is not text") from None
