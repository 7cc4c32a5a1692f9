"""From draft to version: number, signed manifest, fingerprints and log entry become durable together.

A token signs before the transaction (`presigned`), since it may be slow and everybody who writes would wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, decisions, fingerprints, lineage, runs, versions
from hermetic.catalog.locations import place_of
from hermetic.catalog.values import Fingerprint, Publication, SealedObject, VersionState
from hermetic.crypto import mac
from hermetic.custody import anew, callers, denial, environments, presigned, promoting, residency, suites
from hermetic.custody.call import TRIES, Moved, receipt
from hermetic.custody.copies import digest_handle
from hermetic.custody.decide import Question, consume_grant, decide
from hermetic.custody.locating import require_location
from hermetic.custody.noting import notes_about
from hermetic.custody.resolve import as_resource, resolve_version
from hermetic.custody.sealing import named_parents, strictest_of, with_inputs
from hermetic.custody.views import encode_details, openings_of
from hermetic.custody.work import unit
from hermetic.custody.workspaces import require_parents
from hermetic.db import tables
from hermetic.errors import Conflict, Denied, InvalidName, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Done
from hermetic.formats.messages.versions import AbandonVersion, Member, Published, PublishVersion
from hermetic.formats.subjects import check_labels
from hermetic.ids import DataClass, VersionId, check_id, check_member
from hermetic.policy.request import Action
from hermetic.signing import manifests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.catalog.values import Asset, Place, Version
    from hermetic.custody.anew import Contents
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.decide import Verdict
    from hermetic.custody.promoting import Carried
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.versions import ObjectRecord

FILES = 100_000
LABELS = 1000


def publish_version(call: Call, request: PublishVersion) -> Published:
    """Commit a draft. Raises Conflict (no draft, or its parents became stricter), Denied, UsageError, RowTampered."""
    _check(request)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        verdict, by_token = _judge(call, session, request), presigned.by_token(call, session)
    caller = verdict.question.caller
    denial.refuse_unless(call, caller, verdict)
    for _ in range(TRIES - 1 if by_token else 0):
        try:
            return _publish(call, request, verdict, presigned.ahead(call, request, caller))
        except Moved:
            continue
    return _publish(call, request, verdict, None)  # too many publish it at once: whoever comes now waits for the token too


def _publish(call: Call, request: PublishVersion, verdict: Verdict, ahead: presigned.Signed | None) -> Published:
    caller = verdict.question.caller
    with unit(call.custodian, "custody.publish.committed", call.now_ms) as work:
        if not _judge(call, work.session, request).allowed:
            raise Conflict("the policy changed while this was decided", hint="try again")
        consume_grant(call, work.session, verdict)
        asset, version = _own_draft(work.session, caller, request.version)
        residency.require_draft(call.custodian.policy.current(work.session).document, asset.environment, version)
        _check_locations(call, work.session, (asset, version), request)
        _still_opens(work.session, asset, version)
        contents = _contents(call.custodian, request)
        named = suites.named(call.custodian.policy.current(work.session).document, request.objects)
        _add_parents(call, work, (caller, version), request)
        carried = _carried(work.session, caller, version)
        if carried is not None:
            request = promoting.check_copy(work.session, carried, request, contents)
        notes = notes_about(call, work.session, (asset, version), request)
        place = versions.next_place(work.session, asset.id)
        raw, openings = presigned.signed(call, work.session, (asset, version, place), request, done=ahead)
        members = tuple(Member(item.member, item.index, item.plaintext_length) for item in request.objects)
        held = anew.borne_out(work.session, (asset, version, place.number), request.labels, contents)
        details = {**encode_details(version, members, request.labels, named), **({"anew": list(held)} if held else {})}
        version = versions.set_details(work.session, version, details)
        published = versions.publish(work.session, version, _publication(call, request, (raw, openings), place))
        fingerprints.add(work.session, _fingerprints(call.custodian, version, request))
        work.log(_entry(asset, published, caller, raw))
        if carried is not None:
            promoting.finish(work, carried, published)
        elif (opened := _of_package(asset, published, caller, request.labels)) is not None:
            work.log(opened)
    return Published(
        ref=f"{asset.name}@{place.number}",
        asset=asset.id,
        version=version.id,
        number=place.number,
        manifest=raw,
        openings=openings_of(published),
        receipt=receipt(call.custodian.generation, work.logged()),
        notes=notes,
    )


def _carried(session: ReadSession, caller: Caller, version: Version) -> Carried | None:
    decision = promoting.of_draft(version)
    return None if decision is None else promoting.carried(session, caller, decision)


def _judge(call: Call, session: ReadSession, request: PublishVersion) -> Verdict:
    caller = callers.require(call, session)
    version = versions.get(session, VersionId(request.version))
    asset = assets.get(session, version.asset_id)
    policy = call.custodian.policy.current(session)
    if (carried := _carried(session, caller, version) if version.state is VersionState.DRAFT else None) is not None:
        return decide(call, session, carried.question(caller, policy, promoting.source_of(session, carried)))
    run = None if version.run_id is None else runs.get(session, version.run_id)
    return decide(call, session, Question(caller, Action.SIGN, as_resource(asset, version, policy), policy, version.purpose, run))


def _still_opens(session: ReadSession, asset: Asset, version: Version) -> None:
    """Refuse to publish what nobody could open: its key may have been revoked while it was written. Raises KeyUnusable."""
    item = resolve_version(session, asset, version)
    item.kek.check(item.kek_number, "unwrap")


def _check(request: PublishVersion) -> None:
    check_id(request.version)
    if not 0 < len(request.objects) <= FILES:
        raise UsageError(f"a version has 1 to {FILES} objects")
    if [item.index for item in request.objects] != list(range(len(request.objects))):
        raise UsageError("objects are numbered from 0 in order")
    names = [check_member(item.member) for item in request.objects]
    if len(set(names)) != len(names) or len({item.object for item in request.objects}) != len(names):
        raise UsageError("two objects have the same member name or id")
    if len(request.labels) > LABELS or any(len(label) != 2 for label in request.labels):
        raise UsageError(f"labels are at most {LABELS} pairs of name and value")
    check_labels(request.labels)


def _check_locations(call: Call, session: ReadSession, what: tuple[Asset, Version], request: PublishVersion) -> None:
    """Refuse locations that the rules do not give to the asset. Raises UsageError."""
    place = place_of(what[1])
    if place is not None:
        for item in request.objects:
            require_location(call, session, what[0], (place, item.member))


def _own_draft(session: ReadSession, caller: Caller, version_id: str) -> tuple[Asset, Version]:
    version = versions.get(session, VersionId(version_id))
    if version.state is not VersionState.DRAFT:
        raise Conflict(f"this version is {version.state.value}, not a draft", hint="seal again")
    if version.writer != caller.name:
        raise Denied("this draft belongs to somebody else")
    return assets.get(session, version.asset_id), version


def _add_parents(call: Call, work: Work, whose: tuple[Caller, Version], request: PublishVersion) -> None:
    """Add what the run has read since and what the caller names, and refuse a version sealed under a lower class than its inputs."""
    caller, version = whose
    run = None if version.run_id is None else runs.get(work.session, version.run_id)
    asset = assets.get(work.session, version.asset_id)
    before = {edge.parent for edge in lineage.parents_of(work.session, version.id)}
    named = named_parents(work.session, request.parents, asset.environment)
    require_parents(call, work.session, caller, named)
    parents = [item for item in with_inputs(run, named) if item not in before]
    environments.require_own(work.session, parents, asset.environment)
    strictest = strictest_of(lineage.parent_classes(work.session, parents))
    if strictest is not None and strictest.rank > max(version.data_class.rank, _decided_about(work.session, version)):
        raise Conflict(
            f"since this {version.data_class.value} version was begun, its run has read stricter data",
            hint="read all inputs before writing, name the class, or give a reason for the lower one",
        )
    lineage.add_parents(work.session, version, parents, "run" if run else "declared")


def _decided_about(session: ReadSession, version: Version) -> int:
    """Return the rank of the strictest class that a decision lowered this version from; -1 without one."""
    lowered = [item for item in decisions.about_version(session, version.id) if item.kind == "class-lowered"]
    classes = [(item.details or {}).get("from") for item in lowered]
    return max((DataClass(item).rank for item in classes if item), default=-1)


def _publication(call: Call, request: PublishVersion, signed: tuple[bytes, bytes], place: Place) -> Publication:
    raw, openings = signed
    parsed = manifests.verify_manifest(raw, {call.custodian.signer.key_id: call.custodian.signer.key.public})
    return Publication(
        number=place.number,
        manifest=raw,
        openings=openings,
        manifest_hash=manifests.manifest_hash(raw),
        objects=tuple(
            SealedObject(item.id, item.index, item.root, item.algorithm, item.length, item.data_key) for item in parsed.objects
        ),
        length=sum(item.plaintext_length for item in request.objects),
        published_ms=call.now_ms,
    )


def _fingerprints(custodian: Custodian, version: Version, request: PublishVersion) -> list[Fingerprint]:
    return [
        Fingerprint(version.id, member_handle(custodian, item.member), content_handle(custodian, item))
        for item in request.objects
        if item.digest
    ]


def _contents(custodian: Custodian, request: PublishVersion) -> set[Contents]:
    """Return what the files are by keyed fingerprint, under the digests of this suite and under those of the one before."""
    found = set()
    for digests in ([item.digest for item in request.objects], [item.former or item.digest for item in request.objects]):
        if all(digests):
            handles = (digest_handle(custodian, digest) for digest in digests)
            found.add(frozenset(zip((member_handle(custodian, item.member) for item in request.objects), handles, strict=True)))
    return found


def member_handle(custodian: Custodian, member: str) -> bytes:
    """Return the keyed digest of a member's name."""
    return mac.hmac_sha256(custodian.keys.fingerprint, b"hermetic/v1/fingerprint-member\n" + member.encode("utf-8"))


def content_handle(custodian: Custodian, item: ObjectRecord) -> bytes:
    """Return the keyed fingerprint of a member's content. Raises FormatError for a digest of another length than 32 bytes."""
    return digest_handle(custodian, item.digest)


def _of_package(asset: Asset, version: Version, caller: Caller, labels: Sequence[tuple[str, ...]]) -> Entry | None:
    """Return the entry for a version that whoever sealed it says came in a package: their word, as labels are."""
    said = dict(label for label in labels if len(label) == 2)
    if said.keys() != {"package", "package-domain"}:  # with more it is one that was sealed anew from such a version
        return None
    try:
        package, domain = check_id(said["package"]), check_id(said["package-domain"])
    except InvalidName:
        return None
    hidden = {"principal": caller.hidden(), "ref": Hidden(f"{asset.name}@{version.number}", f"asset:{asset.id}")}
    return Entry("package.opened", {"package": package, "from": domain, "version": version.id}, hidden)


def _entry(asset: Asset, version: Version, caller: Caller, raw: bytes) -> Entry:
    return Entry(
        "version.published",
        {
            "version": version.id,
            "asset": asset.id,
            "number": version.number,
            "manifest": to_base64url(manifests.manifest_hash(raw)),
            "class": version.data_class.value,
            "purpose": version.purpose.value,
            "run": version.run_id,
        },
        {"principal": caller.hidden(), "name": Hidden(str(asset.name), f"asset:{asset.id}")},
    )


def abandon_version(call: Call, request: AbandonVersion) -> Done:
    """Give a draft up and forget its key; done twice it does nothing. Raises Denied for somebody else's draft."""
    with unit(call.custodian, "custody.abandon.committed", call.now_ms) as work:
        caller = callers.require(call, work.session)
        version = versions.get(work.session, VersionId(check_id(request.version)))
        if version.state is VersionState.ABANDONED:
            return Done()
        _, version = _own_draft(work.session, caller, request.version)
        abandon(work, version)
        work.log(Entry("version.abandoned", {"version": version.id}, {"principal": caller.hidden()}))
    return Done()


def abandon(work: Work, version: Version) -> list[bytes]:
    """Mark a draft as abandoned and overwrite the wraps of its keys, which are returned for `Database.scrub`."""
    versions.abandon(work.session, version)
    gone = []
    for row in work.session.find(tables.data_key, version_id=version.id):
        gone.append(row["wrapped"])
        work.session.update(tables.data_key, row["id"], row["revision"], wrapped=None, state="destroyed")
    for row in work.session.find(tables.lease, version_id=version.id, state="active"):
        work.session.update(tables.lease, row["id"], row["revision"], state="ended")
    return [wrapped for wrapped in gone if wrapped]
