"""Second factors: add, confirm, list, remove, invite.

**Who may add one.** Whoever has a factor shows it first, within the last `FRESH_MS`. The first one is by *invitation*: somebody who
enrols people makes a code, which reaches the person by another way than the connection (spoken, on paper), is for them alone, once,
for a day. Were the first factor free to add, a second factor would protect nobody who has none yet: an attacker who has what
authenticates a person (their account, their certificate) would add a factor of their own, and pass as both. To let it be added and ask
an owner afterwards whether it is all right only moves the decision to somebody who sees an id and no person. Nobody invites
themselves, but in cooperative mode: there whoever holds the root can write the row anyhow, and somebody has to be the first. So a new
domain begins with its owner, at custody's own machine.

**Lost factors.** Somebody else who enrols people removes the factor, on record and a finding for a while, and invites anew. That ends
every session of the person too.

**Attempts.** What is wrong is counted, on record, and durable before it is told; waits grow with it.

A code or an answer is taken in one transaction with what it refreshes: of two processes that race with one code, one has it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.access import factor_attempts, identity
from hermetic.access import second_factors as factors
from hermetic.audit.leaf import Entry, Hidden
from hermetic.crypto import authenticator, hpke, totp
from hermetic.crypto.authenticator import Assertion, Party
from hermetic.custody import callers, factor_age
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, may, still_the_same
from hermetic.custody.work import unit
from hermetic.errors import ApprovalNeeded, Conflict, Denied, FormatError, NotFound, SignatureError, UsageError
from hermetic.formats import factor_secret
from hermetic.formats.messages.second_factors import (
    BeginTotp,
    BeginWebauthn,
    ConfirmTotp,
    ConfirmWebauthn,
    FactorChanged,
    FactorConfirmed,
    FactorInvitation,
    FactorList,
    FactorRow,
    FinishTotp,
    FinishWebauthn,
    InviteFactor,
    ListFactors,
    RemoveFactor,
    TotpBegun,
    WebauthnChallenge,
)
from hermetic.ids import Enforcement
from hermetic.policy.request import Action, PrincipalKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.access.second_factors import Factor
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.policy.request import Principal

STEP = "custody.factor.changed"
_WRONG = (Denied, SignatureError, FormatError)


@dataclass(slots=True)
class _Attempt:
    """Something that is shown, as it is looked at: its unit of work, who shows it, and when."""

    work: Work
    caller: Caller
    now_ms: int

    @property
    def session(self) -> ReadSession:
        return self.work.session  # type: ignore[no-any-return]

    def say(self, kind: str, item: Factor, **facts: JsonValue) -> int:
        about: dict[str, JsonValue] = {"factor": item.id, "principal": item.principal_id, "factor_kind": item.kind, **facts}
        return self.work.log(Entry(kind, about, {"principal": self.caller.hidden()}))

    def added(self, item: Factor) -> tuple[int, FactorRow]:
        factor_attempts.forget(self.work.session, item.principal_id)
        return self.say("factor.added", item), _row(item, self.session)


@contextmanager
def _attempt(call: Call, *, ends: factors.Use | None = None) -> Iterator[_Attempt]:
    """Let something be shown. What is wrong with it is counted and on record before it is raised; a challenge `ends` either way."""
    wrong: Denied | SignatureError | FormatError | None = None
    with unit(call.custodian, STEP, call.now_ms) as work:
        attempt = _Attempt(work, callers.require(call, work.session), factor_age.now_ms(call))
        factor_attempts.check(work.session, call.caller, now_ms=attempt.now_ms)
        try:
            yield attempt
        except _WRONG as error:
            wrong = error
            count, until = factor_attempts.failed(work.session, call.caller, now_ms=attempt.now_ms)
            facts: dict[str, JsonValue] = {"principal": call.caller, "failed": count, "until_ms": until}
            work.log(Entry("factor.refused", facts, {"principal": attempt.caller.hidden()}))
        if ends is not None:
            factors.drop_challenge(work.session, _whose(call), ends)
    if wrong is not None:
        raise wrong


# Adding


def begin_totp(call: Call, request: BeginTotp) -> TotpBegun:
    """Make the secret of a code app. Raises ApprovalNeeded, Denied, UsageError, FormatError, Conflict, Unsupported."""
    _could_add(call, request.invitation)
    hpke.check_public(request.to)
    with _attempt(call) as attempt:
        invited = _may_add(call, attempt, request.invitation)
        secret = totp.generate()
        item = factors.begin_totp(attempt.work.session, call.caller, request.label, secret, now_ms=attempt.now_ms)
        attempt.say("factor.begun", item, invited=invited)
    return TotpBegun(
        factor=item.id,
        sealed=hpke.seal(request.to, secret.view(), factor_secret.binding(call.custodian.domain, item.id, factors.TOTP)),
        domain=call.custodian.domain,
        account=attempt.caller.name,
        expires_ms=attempt.now_ms + factors.PENDING_MS,
    )


def finish_totp(call: Call, request: FinishTotp) -> FactorChanged:
    """Take the first code of a code app. Raises NotFound, Denied."""
    with _attempt(call) as attempt:
        item = factors.finish_totp(attempt.work.session, call.caller, request.factor, request.code, now_ms=attempt.now_ms)
        at, row = attempt.added(item)
    return FactorChanged(row, receipt(call.custodian.generation, attempt.work.logged(), at))


def begin_webauthn(call: Call, request: BeginWebauthn) -> WebauthnChallenge:
    """Make a challenge for an authenticator. Raises ApprovalNeeded, Denied, UsageError."""
    use: factors.Use = "add" if request.adding else "confirm"
    if request.adding:
        _could_add(call, request.invitation)
    with _attempt(call) as attempt:
        session = attempt.work.session
        if not 0 < request.port < 65_536:
            raise UsageError("a port is a number from 1 to 65535")
        if request.adding:
            invited = _may_add(call, attempt, request.invitation)
            if invited:
                entry = Entry("factor.begun", {"principal": call.caller, "invited": True}, {"principal": attempt.caller.hidden()})
                attempt.work.log(entry)
            known = [item for item in factors.of(session, call.caller) if item.kind == factors.WEBAUTHN]
        else:
            known = list(factors.active(session, call.caller, factors.WEBAUTHN))
        made, expires_ms = factors.challenge(session, _whose(call), use, port=request.port, now_ms=attempt.now_ms)
    return WebauthnChallenge(
        challenge=made,
        rp=authenticator.RP_ID,
        user=factors.user_handle(call.custodian.domain, call.caller),
        name=attempt.caller.name,
        credentials=tuple(factors.public_of(item)[0] for item in known),
        expires_ms=expires_ms,
    )


def finish_webauthn(call: Call, request: FinishWebauthn) -> FactorChanged:
    """Take a new credential. Raises Denied, SignatureError, FormatError, Conflict, UsageError."""
    with _attempt(call, ends="add") as attempt:
        session = attempt.work.session
        challenge, origin = factors.asked(session, _whose(call), "add", now_ms=attempt.now_ms)
        made = authenticator.registered(request.attestation, request.client, challenge=challenge, party=Party(origin=origin))
        item = factors.add_webauthn(session, call.caller, request.label, made, now_ms=attempt.now_ms)
        at, row = attempt.added(item)
    return FactorChanged(row, receipt(call.custodian.generation, attempt.work.logged(), at))


def _could_add(call: Call, invitation: str) -> None:
    """Refuse what is no attempt: a workload, and a first factor without any invitation. Raises UsageError, Denied."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        if caller.principal.kind is not PrincipalKind.PERSON:
            raise UsageError("second factors are for people", hint="a workload is known by its certificate alone")
        if not invitation and not factors.of(session, caller.id) and not _may_begin(call, session, caller):
            raise Denied(
                "a first second factor takes an invitation",
                hint="ask whoever enrols people here: `hermetic identity factor invite NAME --reason WHY`",
            )


def _may_add(call: Call, attempt: _Attempt, invitation: str) -> bool:
    """Return whether an invitation was used up to begin with another factor. Raises ApprovalNeeded, Denied."""
    if factors.of(attempt.session, call.caller):
        _fresh(call, attempt.session)
        return False
    if not invitation and _may_begin(call, attempt.session, attempt.caller):
        return False
    factors.take_invitation(attempt.work.session, call.caller, invitation, now_ms=attempt.now_ms)
    return True


def _may_begin(call: Call, session: ReadSession, caller: Caller) -> bool:
    """Whether the first factor takes no invitation: who enrols people, where custody is in their own process."""
    return call.enforcement is Enforcement.COOPERATIVE and may(call, session, caller, Action.ENROL)


def _fresh(call: Call, session: ReadSession) -> None:
    """Return if the caller showed a factor lately. Raises ApprovalNeeded."""
    age = factor_age.age_of(call, session, factors.shown_ms(session, *_whose(call)))
    if age is None or age > factors.FRESH_MS:
        raise ApprovalNeeded(
            "changing your second factors needs one of them from the last 15 minutes",
            hint="show it with `hermetic identity confirm`, then repeat",
        )


# Confirming


def confirm_totp(call: Call, request: ConfirmTotp) -> FactorConfirmed:
    """Take a code. Raises Denied."""
    with _attempt(call) as attempt:
        item = factors.show_totp(attempt.work.session, call.caller, request.code, now_ms=attempt.now_ms)
        at = _shown(call, attempt, item)
    return FactorConfirmed(item.kind, attempt.now_ms, receipt(call.custodian.generation, attempt.work.logged(), at))


def confirm_webauthn(call: Call, request: ConfirmWebauthn) -> FactorConfirmed:
    """Take an authenticator's answer. Raises Denied, SignatureError, FormatError."""
    said = Assertion(request.credential, request.authenticator, request.client, request.signature, request.user)
    user = factors.user_handle(call.custodian.domain, call.caller)
    with _attempt(call, ends="confirm") as attempt:
        asked = factors.asked(attempt.session, _whose(call), "confirm", now_ms=attempt.now_ms)
        item = factors.show_webauthn(attempt.work.session, call.caller, said, asked, user=user, now_ms=attempt.now_ms)
        at = _shown(call, attempt, item)
    return FactorConfirmed(item.kind, attempt.now_ms, receipt(call.custodian.generation, attempt.work.logged(), at))


def _shown(call: Call, attempt: _Attempt, item: Factor) -> int:
    factor_attempts.forget(attempt.work.session, call.caller)
    factors.refresh(attempt.work.session, call.caller, call.credential or "", item.kind, now_ms=attempt.now_ms)
    return attempt.say("factor.confirmed", item, credential=call.credential)


# Looking, removing, inviting


def list_factors(call: Call, request: ListFactors) -> FactorList:
    """List factors. Raises NotFound, PolicyDenied for those of others."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
    if request.principal not in {"", caller.name, caller.id}:
        allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        whose = [caller.id]
        if request.principal == "*":
            whose = [item.principal.id for item in identity.listing(session)]
        elif request.principal:
            whose = [_by_text(session, request.principal).id]
        states = (factors.ACTIVE, factors.PENDING)
        found = [_row(item, session) for one in whose for item in factors.of(session, one, *states)]
        return FactorList(
            factors=tuple(found),
            invitation=not factors.of(session, caller.id) and not _may_begin(call, session, caller),
            confirmed_ms=factors.shown_ms(session, *_whose(call)),
        )


def remove_factor(call: Call, request: RemoveFactor) -> FactorChanged:
    """End a factor. Raises NotFound, UsageError, Conflict, ApprovalNeeded, PolicyDenied."""
    if not request.reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        item = factors.find(session, request.factor)
        own = item.principal_id == caller.id
        left = {other.id for other in factors.of(session, item.principal_id)} - {item.id}
        if own and left:
            _fresh(call, session)
    if not (own and left):
        caller = allowed_caller(call, Action.ENROL)
    with unit(call.custodian, STEP, call.now_ms) as work:
        still_the_same(call, work.session, caller)
        item = factors.find(work.session, request.factor)
        if item.state == factors.REMOVED:
            raise Conflict("this factor was removed already")
        if own and left and not {other.id for other in factors.of(work.session, item.principal_id)} - {item.id}:
            raise Conflict("your other factors were removed meanwhile", hint="run the command again")
        factors.end_begun(work.session, item.principal_id)
        gone = factors.remove(work.session, factors.find(work.session, item.id))
        facts: dict[str, JsonValue] = {"factor": gone.id, "principal": gone.principal_id, "factor_kind": gone.kind, "own": own}
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        at = work.log(Entry("factor.removed", facts, hidden))
        row = _row(gone, work.session)
    return FactorChanged(row, receipt(call.custodian.generation, work.logged(), at))


def invite_factor(call: Call, request: InviteFactor) -> FactorInvitation:
    """Let somebody add a first factor. Raises NotFound, UsageError, Conflict, PolicyDenied, ApprovalNeeded, FormatError."""
    if not request.reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")
    caller = allowed_caller(call, Action.ENROL)
    hpke.check_public(request.to)
    now, code = factor_age.now_ms(call), factors.new_code()
    with unit(call.custodian, STEP, call.now_ms) as work:
        still_the_same(call, work.session, caller)
        whose = _by_text(work.session, request.principal)
        if whose.id == caller.id:
            raise Denied("nobody invites themselves", hint="ask somebody else who enrols people, or do it at custody's own machine")
        item = factors.invite(work.session, whose.id, code, now_ms=now)
        facts: dict[str, JsonValue] = {"factor": item.id, "principal": whose.id, "expires_ms": now + factors.INVITED_MS}
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        at = work.log(Entry("factor.invited", facts, hidden))
    info = factor_secret.binding(call.custodian.domain, item.id, factors.INVITATION)
    sealed = hpke.seal(request.to, code.encode("ascii"), info)
    proof = receipt(call.custodian.generation, work.logged(), at)
    return FactorInvitation(item.id, sealed, call.custodian.domain, now + factors.INVITED_MS, proof)


def _by_text(session: ReadSession, text: str) -> Principal:
    found = identity.by_name(session, text) or identity.find(session, text)
    if found is None:
        raise NotFound(f"no principal {text!r}", hint="`hermetic access roles` lists those the domain knows")
    return found.principal


def _whose(call: Call) -> tuple[str, str]:
    return call.caller, call.credential or ""


def _row(item: Factor, session: ReadSession) -> FactorRow:
    name = identity.require(session, item.principal_id).principal.name
    return FactorRow(item.id, name, item.kind, item.label, item.state, item.created_ms, item.used_ms)
