"""Somebody wants to read what was shredded, or to have something else shredded than what others agreed to.

Attacker: a requester who uses Hermetic and renames assets, and whoever has the root, the custody home and the backup place afterwards.
Tries:    give the name that others agreed to shred to something else; make custody forget that it was ever copied; look for the
          wrapped key, and for the wrap of before a rewrap, in the database, its write-ahead log and in every chunk of the backup
          place; put the rows back.
Stops it: approvals are for the ids of versions; that there are copies is an authenticated row and on the log; shredding overwrites,
          rebuilds and searches; the copy after it shares no chunk with those before, which go; the log knows what was deleted.
"""

from __future__ import annotations

import time

from _stage import Stage, main

from hermetic.crypto.sign import SigningKey
from hermetic.domain.backup import Copies
from hermetic.errors import ApprovalNeeded, Conflict, HermeticError, KeyUnusable
from hermetic.formats.approval import PAYLOAD_TYPE, Statement
from hermetic.formats.messages.approvals import AddStatement, EnrolApprover, ListRequests
from hermetic.formats.messages.destruction import PlanShred, ShredVersions
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy, ShowPolicy
from hermetic.keys import approver_key
from hermetic.policy.bundle import PolicyBundle
from hermetic.signing.envelopes import sign_envelope
from hermetic.stores.local import LocalStore

SHIPPED, STRICT = "delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}", "delete: {approvals: 1}"
REF = "dataset/patients@1"


def attack(stage: Stage) -> None:
    stage.create(backup=stage.backup).seal()
    stage.seal("dataset/other")
    wraps = [_wrap(stage)]
    with stage.connect() as h:
        kek = h.session.ask(ListKeys()).keys[0].kek
        h.session.ask(RotateKey(kek, "schedule"))
        h.session.ask(RewrapKey(kek))
        asked = _agreed(h)
    rows = {table: stage.sql(f"SELECT * FROM {table}") for table in ("data_key", "version")}
    wraps.append(_wrap(stage))
    there = (wraps[1] in _files(stage), wraps[1] in _copies(stage))
    stage.honest("the wrapped key is in the database and in the copy", there, (True, True))

    with stage.connect() as h:
        h.rename("dataset/patients", "dataset/moved")
        h.rename("dataset/other", "dataset/patients")
        stage.refused("another version under the name that was agreed to", lambda: h.session.ask(asked), Conflict)
        stage.refused("the same, asked for anew", lambda: h.session.ask(_plan(h)), ApprovalNeeded)
        h.rename("dataset/patients", "dataset/other")
        h.rename("dataset/moved", "dataset/patients")
        stage.sql("DELETE FROM backup_state")
        stage.sql("DELETE FROM setting WHERE key LIKE 'copies-%'")
        shredded = h.session.ask(asked)
        stage.honest("what was agreed to is shredded", shredded.refs, (REF,))
        stage.found("a copy that custody was made to forget", shredded.state == "deleted")
        stage.refused("opening it", lambda: h.open(REF, purpose="prepare"), KeyUnusable)
    for name, wrap in zip(("before the rewrap", "after the rewrap"), wraps, strict=True):
        stage.found(f"no wrap from {name} in database and log", wrap not in _files(stage) and wrap[-16:] not in _files(stage))
        stage.found(f"no wrap from {name} in any copy", wrap not in _copies(stage))

    stage.found("the record of copies that is gone", stage.log_finds("row-missing"))
    for table, kept in rows.items():
        for row in kept:
            stage.sql(f"REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    stage.found("rows of before put back", stage.log_finds("row-put-back"))


def _wrap(stage: Stage) -> bytes:
    with stage.connect() as h:
        version = h.show(REF).version
    return stage.sql("SELECT wrapped FROM data_key WHERE version_id = ?", (version,))[0][0]


def _plan(h) -> ShredVersions:
    plan = h.session.ask(PlanShred((REF,)))
    return ShredVersions(plan.refs, plan.versions, "consent withdrawn")


def _agreed(h) -> ShredVersions:
    """What bob agreed to."""
    files = dict(PolicyBundle.from_bytes(h.session.ask(ShowPolicy()).bundle).files)
    files["hermetic.yaml"] = files["hermetic.yaml"].replace(SHIPPED.encode(), STRICT.encode())
    h.session.ask(ApplyPolicy(PolicyBundle(files=files).to_bytes()))
    key, asked = SigningKey.generate(), _plan(h)
    h.session.ask(EnrolApprover("bob", approver_key.public_file(key), "approves"))
    try:
        h.session.ask(asked)
    except ApprovalNeeded:
        (row,) = h.session.ask(ListRequests()).requests
    key_id, now = approver_key.key_id_of(key.public), time.time_ns() // 1_000_000
    said = Statement(row.domain, row.id, row.hash, row.requester_id, row.requester, "approve", key_id, "", now, row.expires_ms)
    h.session.ask(AddStatement(sign_envelope(said.encode(), PAYLOAD_TYPE, key, key_id)))
    return asked


def _files(stage: Stage) -> bytes:
    """Return every byte of the database and what lies beside it."""
    return b"".join(path.read_bytes() for path in sorted(stage.home_folder.rglob("custody.db*")))


def _copies(stage: Stage) -> bytes:
    """Return every chunk of every index in the backup place, opened with the domain's own key; packs that none names do not count."""
    with stage.connect() as h:
        custodian = h.session.connection.port._custodian
        copies = Copies(LocalStore(stage.backup / custodian.domain), custodian.keys.backup)
        found = b""
        for number in copies.numbers():
            try:
                found += copies.fetch(copies.read(number))
            except HermeticError:  # one that is damaged holds nothing
                continue
        packs = {item.pack for number in copies.numbers() for item in copies.read(number).chunks}
        there = {int(path.name.partition("-")[2]) for path in (stage.backup / custodian.domain).glob("pack-*")}
        assert there <= packs, "a pack that no index names was left"
        return found


if __name__ == "__main__":
    main(attack)
