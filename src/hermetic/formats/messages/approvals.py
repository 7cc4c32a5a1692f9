"""Approvals: who may approve, what waits, and the statements that approvers sign (spec/approval.md)."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Pair, Receipt, Request


@dataclass(frozen=True, slots=True)
class ApproverRow:
    """An approver: name, id of the key, public key, state. `alone` says that the owner enrolled it without approvals."""

    name: str
    key: str
    public: bytes
    principal: str
    state: str
    created_ms: int
    alone: bool


@message("approver-changed")
@dataclass(frozen=True, slots=True)
class ApproverChanged:
    """The approver as it is now."""

    approver: ApproverRow
    receipt: Receipt


@message("enrol-approver")
@dataclass(frozen=True, slots=True)
class EnrolApprover(Request[ApproverChanged]):
    """Pin a key to a name. `public` is a public file (spec/approval.md), which proves that its holder has the private half."""

    name: str
    public: bytes
    reason: str


@message("remove-approver")
@dataclass(frozen=True, slots=True)
class RemoveApprover(Request[ApproverChanged]):
    """End an approver; the key is never taken again."""

    name: str
    reason: str


@message("list-approvers")
@dataclass(frozen=True, slots=True)
class ListApprovers(Request["ApproverList"]):
    """Everybody who is or was an approver."""


@message("approver-list")
@dataclass(frozen=True, slots=True)
class ApproverList:
    """Approvers by name, and the largest number of approvals that an operation needs."""

    approvers: tuple[ApproverRow, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class StatementRow:
    """What an approver said. `counts` is empty, or why it does not count."""

    approver: str
    verdict: str
    reason: str
    made_ms: int
    expires_ms: int
    counts: str


@message("request-row")
@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request that waits for approvals, or did.

    `hash` is SHA-256 of label and `request`, the canonical bytes; `asks` says all of them in words. `about` is what custody knows
    of the ids in it now, and of the policy: that is not signed.
    """

    id: str
    domain: str
    hash: bytes
    request: bytes
    action: str
    requester_id: str
    requester: str
    needed: int
    created_ms: int
    expires_ms: int
    state: str
    asks: tuple[Pair, ...]
    about: tuple[Pair, ...]
    statements: tuple[StatementRow, ...]


@message("list-requests")
@dataclass(frozen=True, slots=True)
class ListRequests(Request["RequestList"]):
    """Requests that wait; with `closed` those that do not any more, too. `before` is a request's id: older ones only."""

    closed: bool = False
    before: str | None = None


@message("request-list")
@dataclass(frozen=True, slots=True)
class RequestList:
    """Requests, oldest first; `older` says that there are more before them."""

    requests: tuple[RequestRow, ...]
    older: bool = False


@message("show-request")
@dataclass(frozen=True, slots=True)
class ShowRequest(Request[RequestRow]):
    """One request by id, or the unique beginning of it."""

    request: str


@message("add-statement")
@dataclass(frozen=True, slots=True)
class AddStatement(Request[RequestRow]):
    """Hand in what an approver signed. Whoever hands it in does not matter: the signature does."""

    statement: bytes


@message("request-withdrawn")
@dataclass(frozen=True, slots=True)
class RequestWithdrawn:
    """The request is closed, and stays on record."""

    request: str
    receipt: Receipt


@message("withdraw-request")
@dataclass(frozen=True, slots=True)
class WithdrawRequest(Request[RequestWithdrawn]):
    """Take a request of one's own back: nobody can approve it any more, and nothing can use it. By id, or its unique beginning."""

    request: str
    reason: str
