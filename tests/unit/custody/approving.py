"""What approvers do in tests: keys that are cheap to open, statements about requests."""

from __future__ import annotations

from dataclasses import replace

from hermetic.crypto.sign import SigningKey
from hermetic.formats.approval import PAYLOAD_TYPE, Statement
from hermetic.formats.messages.approvals import AddStatement, EnrolApprover, ListRequests
from hermetic.formats.messages.destruction import PlanShred, ShredVersions
from hermetic.keys import approver_key
from hermetic.signing.envelopes import sign_envelope


class Person:
    """Somebody with a key."""

    def __init__(self, name):
        self.name, self.signing = name, SigningKey.generate()
        self.key_id = approver_key.key_id_of(self.signing.public)

    @property
    def public(self):
        return approver_key.public_file(self.signing)

    def enrol(self, port):
        return port.ask(EnrolApprover(self.name, self.public, "approves"))

    def statement(self, row, now_ms, verdict="approve", **changes):
        """A signed statement about a request; `changes` make it another one."""
        said = Statement(
            row.domain, row.id, row.hash, row.requester_id, row.requester, verdict, self.key_id, "looked at it", now_ms, row.expires_ms
        )
        return sign_envelope(replace(said, **changes).encode(), PAYLOAD_TYPE, self.signing, self.key_id)

    def answers(self, port, row, now_ms, verdict="approve", **changes):
        return port.ask(AddStatement(self.statement(row, now_ms, verdict, **changes)))


def the_request(port):
    """The one request that waits."""
    (row,) = port.ask(ListRequests()).requests
    return row


def to_shred(port, *refs, reason="consent withdrawn"):
    """The request to shred what names mean now."""
    plan = port.ask(PlanShred(refs or ("dataset/patients@1",)))
    return ShredVersions(plan.refs, plan.versions, reason)
