"""Certificates: what was destroyed, signed, and what the claim relies on (spec/certificate.md).

What was destroyed is *deleted* when it was overwritten and is in no page of the database and its log. A shred is *complete*, and a KEK
version *destroyed*, when in addition no copy of custody can hold it: none was ever made, or people vouched on record for all that were
made until then, that they were destroyed or that the keys which open them were.

Nothing here infers that a copy opens no more. A copy holds wraps and slots alike, and a root that left the domain may live on: in a
key service, a TPM, with the holders of shares, under a recovery passphrase, in a copy of its file. Only people know of those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.tree import leaf_hash
from hermetic.catalog import versions
from hermetic.catalog.values import fresh_id
from hermetic.custody import blast, remains
from hermetic.custody.decide import allowed_caller, allowed_everywhere, still_the_same
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.formats.certificate import LIMIT, PAYLOAD_TYPE, Certificate, Logged, parse_certificate
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.base import Done
from hermetic.formats.messages.destruction import CertificateRow, RecordCopiesDestroyed, ShowCertificate
from hermetic.ids import KekId, Ref, VersionId
from hermetic.keys import in_provider, roots
from hermetic.keys import kek as keks
from hermetic.policy.request import Action
from hermetic.signing.envelopes import sign_envelope, verify_envelope

if TYPE_CHECKING:
    from typing import Any

    from hermetic.audit.receipts import Appended
    from hermetic.custody.call import Call
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession

OVERWRITTEN = "the rows of the wrapped data keys were overwritten"
SEARCHED = "the database, its free pages and its write-ahead log were searched for the wrapped keys and hold none"
NO_COPY = "custody was never copied by its own doing: an authenticated record says so, and no entry of the log says otherwise"
VOUCHED = "people vouch on record that every copy of custody from before was destroyed, or every key that opens one"
SLOTS = "every slot of the version was deleted"
REBUILT = "the database was rebuilt whole without what was deleted, and its write-ahead log emptied"
REBUILT_AND_SEARCHED = (
    "the database was rebuilt whole, so that older wraps of the same keys went with its free pages; it and its emptied write-ahead "
    "log were searched for the wrapped keys and hold none"
)
TABLES_REBUILT = (
    "the tables that hold keys were written anew on the database server, without old versions of their rows; the server's files were "
    "not searched"
)
SERVER_KEEPS = (
    "the database server may keep what was deleted, in its write-ahead log and archives of it, in base backups, on standbys, and in "
    "disk blocks that it gave back: destroy those, or every key that opens what is in them, then "
    "`hermetic key copies-destroyed --before TIME --reason TEXT`"
)
NOT_SEARCHED = "the database's files could not be cleaned, a reader held on to an older state: `hermetic key certificate` tries again"


CLEANED = frozenset({SEARCHED, REBUILT, REBUILT_AND_SEARCHED, TABLES_REBUILT})
FIRST = {"shred": OVERWRITTEN, "kek": SLOTS}
WHOLE = {"shred": "complete", "kek": "destroyed"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether something is gone: `state` is deleted, or complete or destroyed; what that relies on, and what is missing."""

    state: str
    relies: tuple[str, ...]
    missing: tuple[str, ...]


REASON_LIMIT = 1000  # characters; a certificate carries it


def check_reason(text: str) -> None:
    """Raise UsageError for no reason, or one that no certificate could carry."""
    if not text.strip() or len(text) > REASON_LIMIT:
        raise UsageError(f"say why, in at most {REASON_LIMIT} characters", hint="--reason TEXT goes on record")


def standing(session: ReadSession, made: Certificate, *, cleaned: str) -> Standing:
    """Return how far what a certificate is about is gone; `cleaned` says how the files were cleaned, empty for not yet.

    Copies count until it was done, not until it was announced: each of those holds what was destroyed then. Who vouches for them does
    so after that, by the log and by the clock.
    """
    relies = [FIRST[made.kind] if made.kind == "shred" else _of_key(session, made), *([cleaned] if cleaned else [])]
    missing = [] if cleaned else [NOT_SEARCHED]
    if made.kind == "shred":
        missing += remains.out(session, (subject.rpartition(" ")[2] for subject in made.subjects))
    copies = blast.copies_may_hold(session, made.done_ms, made.log)
    if copies:
        missing.append(copies)
    elif blast.copies_destroyed_before(session) >= made.done_ms and blast.vouched_after(session, made.log):
        relies.append(VOUCHED)
    elif cleaned == TABLES_REBUILT:
        missing.append(SERVER_KEEPS)
    else:
        relies.append(NO_COPY)
    return Standing("deleted" if missing else WHOLE[made.kind], tuple(relies), tuple(missing))


def _of_key(session: ReadSession, made: Certificate) -> str:
    """Return what the destruction of a KEK version relies on first: one that lived in its root had no key that could go here."""
    kek, _, number = made.subjects[0].partition("/")
    home = in_provider.home_of(session, KekId(kek), int(number))
    if home is None:
        return FIRST[made.kind]
    return (
        f"no data key hangs on the version any more, and it had no key here; old wraps, wherever copies of them are, open as long as "
        f"the key of root {home} exists in its provider: the deletion of {roots.get(session, home).provider_uri} there ends that"
    )


def issue(call: Call, work: Work, made: Certificate, subjects: tuple[str, ...]) -> tuple[str, bytes]:
    """Sign a certificate and put it on record for each of its subjects, by id; return its id and the envelope."""
    signer = call.custodian.signer_in(work.session)
    raw = sign_envelope(made.encode(), PAYLOAD_TYPE, signer.key, signer.key_id)
    verify_envelope(raw, PAYLOAD_TYPE, {signer.key_id: signer.key.public}, limit=LIMIT)
    first = ""
    for subject in subjects:
        certificate = fresh_id()
        first = first or certificate
        work.session.insert(tables.certificate, id=certificate, kind=made.kind, subject=subject, envelope=raw, made_ms=made.made_ms)
        facts = {"certificate": certificate, "kind": made.kind, "subject": subject, "state": made.state}
        work.log(Entry("certificate.made", facts))
    return first, raw


def durable(call: Call, made: Certificate, appended: Appended, at: int) -> Certificate:
    """Return a certificate about what is durable now: where its entry stands, and when it was done.

    That is the time now: a copy that was begun while it was being done holds what was destroyed.
    """
    proof = appended.receipt(at)
    log = Logged(call.custodian.generation, proof.index, leaf_hash(proof.leaf))
    return replace(made, log=log, done_ms=max(made.done_ms, call.custodian.clock()))


def find(session: ReadSession, subject: str) -> dict[str, Any] | None:
    """Return the newest certificate about a subject."""
    rows = session.find(tables.certificate, subject=subject)
    return max(rows, key=lambda row: (row["made_ms"], row["id"]), default=None)


def row_of(stored: dict[str, Any]) -> CertificateRow:
    """Return a certificate as the port tells it. Raises FormatError."""
    raw = stored["envelope"]
    return CertificateRow(stored["id"], stored["kind"], stored["made_ms"], raw, parse_envelope(raw, limit=LIMIT).payload)


def show_certificate(call: Call, request: ShowCertificate) -> CertificateRow:
    """Return a certificate; one that is not complete is looked at again, and replaced if more is true now. Raises NotFound."""
    caller = allowed_caller(call, Action.READ_CATALOG)
    stored = _stored(call, request.subject)
    known = parse_certificate(row_of(stored).payload)
    if not known.missing:
        return row_of(stored)
    cleaned = next((item for item in known.relies if item in CLEANED), "") or rebuild(call)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        ids = _siblings(session, stored)
        now = standing(session, known, cleaned=cleaned)
    if not cleaned or now == Standing(known.state, known.relies, known.missing):
        return row_of(stored)
    made_ms = max(call.now_ms, known.made_ms + 1)  # the newest one counts, whatever the clock says
    fresh = replace(known, state=now.state, relies=now.relies, missing=now.missing, made_ms=made_ms)
    with unit(call.custodian, "custody.certificate.made", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        issue(call, work, fresh, ids)
    return row_of(_stored(call, stored["subject"]))


def rebuild(call: Call) -> str:
    """Clean the files without knowing what to look for; return how, empty when a reader is still in the way."""
    try:
        call.custodian.database.rebuild()
    except Conflict:
        return ""
    return REBUILT if call.custodian.database.searched else TABLES_REBUILT


def _stored(call: Call, subject: str) -> dict[str, Any]:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = find(session, _subject(call, session, subject)) or session.get(tables.certificate, subject)
        if found is None:
            raise NotFound(f"no certificate about {subject!r}", hint="it is made when something is destroyed or shredded")
        return found


def _siblings(session: ReadSession, stored: dict[str, Any]) -> tuple[VersionId, ...]:
    """Return the ids of all versions that one certificate speaks of."""
    same = (row for row in session.find(tables.certificate) if row["envelope"] == stored["envelope"])
    return tuple(VersionId(row["subject"]) for row in same)


def _subject(call: Call, session: ReadSession, text: str) -> str:
    """Return the subject that a reference or KEK/NUMBER names; other text as it is."""
    if "@" in text:
        ref = Ref.parse(text)
        policy = call.custodian.policy.current(session)
        _, version = versions.resolve(session, ref, policy.document.environment, deleted=True)
        return version.id
    kek, slash, number = text.partition("/")
    if slash and number.isdecimal():
        found = [item.kek_id for item in keks.ls(session) if len(kek) >= 4 and item.kek_id.startswith(kek)]
        return f"{found[0]}/{int(number)}" if len(found) == 1 else text
    return text


def record_copies_destroyed(call: Call, request: RecordCopiesDestroyed) -> Done:
    """Take people's word that copies are gone. Raises UsageError for a moment that is not over or earlier than one on record."""
    if not request.reason.strip():
        raise UsageError("say what was done with the copies", hint="--reason TEXT goes on record")
    if not 0 < request.before_ms <= call.now_ms:
        raise UsageError("the moment before which copies were destroyed is over", hint="--before 2026-11-21T12:00:00Z")
    caller = allowed_everywhere(call, Action.DESTROY_KEYS)  # certificates rely on it: nothing is destroyed before
    with unit(call.custodian, "custody.copies.destroyed", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if request.before_ms < blast.copies_destroyed_before(work.session) <= call.now_ms:  # else the clock was wrong then
            raise UsageError("a later moment is on record already")
        size = call.custodian.log.head(TablesStore(work.session.connection))[0].size
        value = {
            "ms": request.before_ms,
            "who": caller.name,
            "at_ms": call.now_ms,
            "generation": call.custodian.generation,
            "size": size,
        }
        row = work.session.get(tables.setting, blast.COPIES)
        if row is None:
            work.session.insert(tables.setting, key=blast.COPIES, value=value)
        else:
            work.session.update(tables.setting, blast.COPIES, row["revision"], value=value)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("backup.destroyed", {"before_ms": request.before_ms}, hidden))
    return Done()
