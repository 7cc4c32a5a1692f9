"""Step 1 of a release: who asks. The transport vouches for a name; the domain has to know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.access import credentials, identity
from hermetic.audit.leaf import Hidden
from hermetic.catalog import runs
from hermetic.custody import seen
from hermetic.custody.seen import Seen
from hermetic.errors import Conflict, Denied
from hermetic.ids import RunId, check_id

if TYPE_CHECKING:
    from hermetic.catalog.values import Run
    from hermetic.custody.call import Call
    from hermetic.custody.decide import Question
    from hermetic.db.rows import ReadSession
    from hermetic.policy.request import Context, Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal this domain knows. `asked` is the question that was answered with yes before it may act, if there was one,
    `policies` are the ids of those that permitted it, and `saw` the circumstances in which they did."""

    principal: Principal
    asked: Question | None = field(default=None, compare=False, repr=False)
    policies: tuple[str, ...] = field(default=(), compare=False)
    saw: Context | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """The principal's random id."""
        return self.principal.id

    @property
    def name(self) -> str:
        """The principal's name, for people."""
        return self.principal.name

    def hidden(self) -> Hidden:
        """Return the caller as the log keeps it: a commitment that can be erased."""
        return Hidden(self.principal.name, f"principal:{self.principal.id}")

    @property
    def seen(self) -> Seen:
        """What the log says of the circumstances in which the caller was permitted to act."""
        return Seen({}, {}) if self.saw is None else seen.of(self.saw, self.id)

    def fixed_points(self) -> tuple[object, ...]:
        """What must not have changed between decision and intent."""
        return (self.principal.id, self.principal.roles)


def require(call: Call, session: ReadSession) -> Caller:
    """Return the caller. Raises NotAuthenticated for one that is unknown or disabled, RowTampered.

    What authenticated the connection is looked at each time too: a certificate that was revoked, or whose authority was, or that
    has expired meanwhile, ends here.
    """
    if call.credential is not None:
        credentials.check(session, call.credential, call.caller, now_ms=call.now_ms)
    return Caller(identity.authenticated(session, call.caller))


def own_run(session: ReadSession, caller: Caller, run_id: str) -> Run:
    """Return a run of the caller. Raises NotFound, Denied when somebody else started it: its purpose is not theirs to use."""
    run = runs.get(session, RunId(check_id(run_id)))
    if run.principal != caller.name:
        raise Denied("this run belongs to somebody else", hint="start a run of your own")
    return run


def live_run(session: ReadSession, caller: Caller, run_id: str | None) -> Run | None:
    """Return the run that a request names, None if it names none. Raises as `own_run`, Conflict when it has ended."""
    if run_id is None:
        return None
    run = own_run(session, caller, run_id)
    if run.ended_ms is not None:
        raise Conflict("the run has ended", hint="start another run")
    return run
