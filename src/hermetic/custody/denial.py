"""Refusals: on the log first, then to the caller. A flood of equal ones is counted, not written one by one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry
from hermetic.audit.tables_store import TablesStore
from hermetic.errors import HermeticError
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.decide import Verdict
    from hermetic.formats.canonical import JsonValue

REASONS = 8
REASON_LENGTH = 200


def refuse_unless(call: Call, caller: Caller, verdict: Verdict) -> Verdict:
    """Return an allowing verdict; else log the denial, then raise PolicyDenied or ApprovalNeeded."""
    if verdict.allowed:
        return verdict
    question = verdict.question
    codes = (*verdict.policies, *(item.code for item in verdict.judged.unmet), *verdict.judged.decision.errors)
    facts: dict[str, JsonValue] = {
        "action": question.action.value,
        "resource": question.resource.id,
        "purpose": None if question.purpose is None else question.purpose.value,
        "policy": to_base64url(question.policy.digest),
        "reasons": [code[:REASON_LENGTH] for code in (codes or ("no-policy-permits",))[:REASONS]],
    }
    record(call, caller, facts)
    verdict.judged.require()
    return verdict


@contextlib.contextmanager
def recorded(call: Call) -> Iterator[None]:
    """Log a request that fails before it is decided (unknown version, row changed by hand, key suspended), then pass the error on."""
    try:
        yield
    except HermeticError as error:
        record(call, None, {"action": None, "resource": None, "reasons": [type(error).__name__]})
        raise


def record(call: Call, caller: Caller | None, facts: dict[str, JsonValue]) -> None:
    """Append a denial, or count it with an equal one of the last seconds; durable on return."""
    about_key = hasattr(call.request, "recipient")
    facts = {**facts, "enforcement": call.custodian.enforcement.value}
    if about_key:
        facts["request"] = getattr(call.request, "request", None)
    entry = Entry("release.denied" if about_key else "access.denied", facts, {} if caller is None else {"principal": caller.hidden()})
    custodian = call.custodian
    with custodian.database.write(custodian.row_keys, step="custody.release.denied") as session:
        custodian.log.append_denial(TablesStore(session.connection), entry, now_ms=call.now_ms)
    custodian.committed()
