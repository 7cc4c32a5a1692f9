"""The manifest of a version, and its signature. A token is asked before the transaction that publishes, a key of this process inside.

    ahead    draws up the manifest from one state of the database, and has the token sign it; nothing is written
    signed   inside the transaction: draws it up from the state there, and takes the signature if it is of these very bytes and by
             the key in force; else Moved, and the publication begins again

What was signed ahead and not published stays in this process and is forgotten: who is killed in between leaves a draft, as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.catalog import assets, versions
from hermetic.catalog.values import VersionState
from hermetic.crypto.sign import SigningKey
from hermetic.custody.call import Moved
from hermetic.custody.custodian import ManifestSigner
from hermetic.custody.views import encode_openings
from hermetic.db import tables
from hermetic.errors import HermeticError
from hermetic.formats.manifest import Manifest, ManifestObject
from hermetic.ids import DataKeyId, ObjectId, VersionId, check_id
from hermetic.keys import secret_keys
from hermetic.signing import manifests

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Place, Version
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession
    from hermetic.formats.manifest import ManifestOpenings
    from hermetic.formats.messages.versions import PublishVersion


@dataclass(frozen=True, slots=True)
class Signed:
    """A manifest with its envelope, what opens its commitments, and the id of the key that signed it."""

    manifest: Manifest
    openings: ManifestOpenings
    raw: bytes
    key_id: str


def by_token(call: Call, session: ReadSession) -> bool:
    """Whether a token signs manifests, so that `ahead` is worth a look at the database."""
    return not isinstance(_signer(call.custodian, session).key, SigningKey)


def ahead(call: Call, request: PublishVersion, caller: Caller) -> Signed | None:
    """Have a token sign what would be published now; None for a key of this process, and for what will be refused anyhow.

    Raises Moved where the key was taken out of the token meanwhile, since another one is in force.
    """
    with call.custodian.database.read(call.custodian.row_keys) as session:
        signer = _signer(call.custodian, session)
        version = versions.get(session, VersionId(request.version))
        if isinstance(signer.key, SigningKey) or version.state is not VersionState.DRAFT or version.writer != caller.name:
            return None
        asset = assets.get(session, version.asset_id)
        manifest, openings = _drawn_up(call, session, (asset, version, versions.next_place(session, asset.id)), request)
    try:
        raw = manifests.sign_manifest(manifest, signer.key, signer.key_id)
    except HermeticError as error:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            if secret_keys.active(session, secret_keys.MANIFEST_SIGNING).key_id != signer.key_id:
                raise Moved("the key that signs manifests was rotated while it signed") from error
        raise
    return Signed(manifest, openings, raw, signer.key_id)


def _signer(custodian: Custodian, session: ReadSession) -> ManifestSigner:
    """Return the key in force in a state that may be older by now than what custody goes by, and does not change that."""
    known, active = custodian.signer, secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
    if active.key_id == known.key_id:
        return known
    return ManifestSigner(active.key_id, secret_keys.signer(session, custodian.anchors, active.key_id))


def signed(
    call: Call, session: ReadSession, what: tuple[Asset, Version, Place], request: PublishVersion, *, done: Signed | None
) -> tuple[bytes, bytes]:
    """Return the signed envelope and the encoded openings of what is published in this transaction.

    Raises Moved where another manifest, or one by another key, is needed than was signed ahead.
    """
    signer = call.custodian.signer_in(session)
    manifest, openings = _drawn_up(call, session, what, request, known=None if done is None else done.openings)
    if done is None:
        return manifests.sign_manifest(manifest, signer.key, signer.key_id), encode_openings(openings)
    if (manifest, openings, signer.key_id) != (done.manifest, done.openings, done.key_id):
        raise Moved("another version was published, or the asset or the key changed, while the token signed")
    return done.raw, encode_openings(openings)


def _drawn_up(
    call: Call,
    session: ReadSession,
    what: tuple[Asset, Version, Place],
    request: PublishVersion,
    *,
    known: ManifestOpenings | None = None,
) -> tuple[Manifest, ManifestOpenings]:
    """Return the manifest as the state of the database has it; `known` openings are used again if they still open the same."""
    asset, version, place = what
    domain = call.custodian.domain
    key = DataKeyId(session.find(tables.data_key, version_id=version.id)[-1]["id"])
    openings, commitments = manifests.new_openings(name=str(asset.name), data_class=version.data_class.value, writer=version.writer)
    if known is not None and _values(known) == _values(openings):
        openings, commitments = known, manifests.commitments_of(known)
    manifest = Manifest(
        domain=domain,
        asset=asset.id,
        version=version.id,
        number=place.number,
        previous=place.previous_hash,
        environment=asset.environment,
        created_ms=call.now_ms,
        commitments=commitments,
        objects=tuple(
            ManifestObject(
                domain,
                asset.id,
                version.id,
                index=item.index,
                id=ObjectId(check_id(item.object)),
                root=item.root,
                algorithm=item.algorithm,
                length=item.length,
                data_key=key,
            )
            for item in request.objects
        ),
    )
    return manifest, openings


def _values(openings: ManifestOpenings) -> tuple[str, str, str]:
    return openings.name.value, openings.data_class.value, openings.writer.value
