"""Somebody wants keys destroyed with a yes that was given for something else, to somebody else, or before.

Attacker: a requester who uses Hermetic, has what approvers signed before, and can write the custody database; without approvers' keys.
Tries:    hand a used statement in again; turn its verdict; sign as oneself under another's name; make the number of approvals
          smaller by policy; put the used request back into the database; enrol a twin of one's own.
Stops it: statements name one request and are verified whenever they count; a policy that lowers the number, and every change of
          approvers, needs the approvals itself; the log says what was used, and is asked before the next use.
"""

from __future__ import annotations

import time

from _stage import Stage, main

from hermetic.crypto.sign import SigningKey
from hermetic.errors import ApprovalNeeded, Conflict, IntegrityError
from hermetic.formats.approval import PAYLOAD_TYPE, Statement
from hermetic.formats.messages.approvals import AddStatement, EnrolApprover, ListRequests
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy, ShowPolicy
from hermetic.keys import approver_key
from hermetic.policy.bundle import PolicyBundle
from hermetic.signing.envelopes import sign_envelope

STRICT, NONE = "administer-keys: {approvals: 2}", "administer-keys: {approvals: 0}"


class Person:
    """Somebody with a key."""

    def __init__(self, name: str) -> None:
        self.name, self.key = name, SigningKey.generate()

    def enrol(self, h) -> None:
        h.session.ask(EnrolApprover(self.name, approver_key.public_file(self.key), "approves"))

    def sign(self, row, *, as_key: SigningKey | None = None) -> bytes:
        key_id = approver_key.key_id_of((as_key or self.key).public)
        who, now = (row.requester_id, row.requester), time.time_ns() // 1_000_000
        said = Statement(row.domain, row.id, row.hash, *who, "approve", key_id, "", now, row.expires_ms)
        return sign_envelope(said.encode(), PAYLOAD_TYPE, self.key, key_id)


def attack(stage: Stage) -> None:
    stage.create().seal()
    bob, carol, mallory = Person("bob"), Person("carol"), Person("mallory")
    with stage.connect() as h:
        bob.enrol(h)
        carol.enrol(h)
        _policy(h, "administer-keys: {mfa: 15m, from: separated}", STRICT)
        rotate = RotateKey(h.session.ask(ListKeys()).keys[0].kek, "schedule")
        row = _request(h, rotate)
        signed = [person.sign(row) for person in (bob, carol)]
        turned = bytes(signed[0]).replace(b"YXBwcm92", b"ZGVueTAw", 1)
        stage.refused("a statement signed by another key", lambda: _add(h, mallory.sign(row, as_key=bob.key)), IntegrityError)
        stage.refused("a statement by nobody's key", lambda: _add(h, mallory.sign(row)), IntegrityError)
        stage.refused("a statement with changed bytes", lambda: _add(h, turned[:-40] + b"A" * 40), IntegrityError)
        for raw in signed:
            _add(h, raw)
        stage.refused("the same yes twice", lambda: _add(h, signed[0]), Conflict)
    older = stage.sql("SELECT * FROM approval_request")[0]
    with stage.connect() as h:
        stage.honest("two approvals rotate once", h.session.ask(rotate).key.versions[-1].number, 2)
        stage.refused("rotating again with used approvals", lambda: h.session.ask(rotate), ApprovalNeeded)
        stage.refused("handing used statements in again", lambda: _add(h, signed[0]), Conflict)
        stage.refused("a policy that asks nobody", lambda: _policy(h, STRICT, NONE), ApprovalNeeded)
        stage.refused("an approver of one's own", lambda: mallory.enrol(h), ApprovalNeeded)

    stage.sql("DELETE FROM approval_request WHERE id <> ?", (older[0],))
    stage.sql(f"REPLACE INTO approval_request VALUES ({', '.join('?' * len(older))})", older)
    with stage.connect() as h:
        stage.refused("a used request put back into the database", lambda: h.session.ask(rotate), IntegrityError)
    stage.found("the request put back", stage.log_finds("row-put-back"))


def _request(h, asked):
    try:
        h.session.ask(asked)
    except ApprovalNeeded:
        (row,) = h.session.ask(ListRequests()).requests
        return row
    raise AssertionError("no approval was asked for")


def _add(h, raw: bytes) -> None:
    h.session.ask(AddStatement(raw))


def _policy(h, old: str, new: str) -> None:
    files = dict(PolicyBundle.from_bytes(h.session.ask(ShowPolicy()).bundle).files)
    assert old.encode() in files["hermetic.yaml"]
    files["hermetic.yaml"] = files["hermetic.yaml"].replace(old.encode(), new.encode())
    h.session.ask(ApplyPolicy(PolicyBundle(files=files).to_bytes()))


if __name__ == "__main__":
    main(attack)
