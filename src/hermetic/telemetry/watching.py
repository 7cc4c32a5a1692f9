"""The one interface by which servers tell of requests: counted, timed, and one log line each. Nobody's text gets into one.

    watch = Watch(measures, salt…)                                       one a process
    with watch.request(request, principal=id, traceparent=header) as seen:
        try:
            answer = custody.ask_as(caller, request)
        except HermeticError as error:
            seen.refused(error)                                             then answer with the refusal
        except Exception:
            seen.failed()                                                   a defect of ours
    seen.trace.header                                                       is what to send back as `traceparent`

A line has the request's wire name, how long it took, how it ended, the trace, and the caller as a keyed hash of the id: the same for a
caller as long as the process runs, and nothing that one could guess ids by. That of a greeting has the caller's release too, for who
plans an upgrade. A release is a request that has a recipient for a key.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hermetic.crypto.mac import hmac_sha256
from hermetic.formats import codec, release
from hermetic.formats.messages.greeting import Hello
from hermetic.telemetry import tracing
from hermetic.telemetry.measures import Measures, reason_of
from hermetic.telemetry.tracing import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.formats.messages.base import Request

_log = logging.getLogger("hermetic.requests")


@dataclass(slots=True)
class Seen:
    """One request on its way. Without a word it counts as answered."""

    trace: Trace
    outcome: str = "answered"
    reason: str = ""

    def refused(self, error: BaseException) -> None:
        """It was refused: an error of `hermetic.errors`."""
        self.outcome, self.reason = "refused", reason_of(error)

    def failed(self) -> None:
        """A defect of the service."""
        self.outcome, self.reason = "failed", "failed"


@dataclass(slots=True)
class Watch:
    """Measures and log lines of one process. Thread safe."""

    measures: Measures = field(default_factory=Measures)
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @contextmanager
    def request(self, request: Request[Any], *, principal: str | None, traceparent: str | None = None) -> Iterator[Seen]:
        """Watch one request. What leaves the block as an exception counts as failed, and goes on its way."""
        seen = Seen(Trace.of(traceparent))
        token = tracing.current.set(seen.trace)
        begun = time.perf_counter()
        self.measures.at_work(1)
        try:
            yield seen
        except BaseException:
            seen.failed()
            raise
        finally:
            tracing.current.reset(token)
            self.measures.at_work(-1)
            self._tell(seen, request, time.perf_counter() - begun, principal)

    def _tell(self, seen: Seen, request: Request[Any], seconds: float, principal: str | None) -> None:
        name = codec.name_of(type(request))
        self.measures.answered(name, seen.outcome, seconds)
        if seen.reason:
            self.measures.refused_for(seen.reason)
        elif hasattr(request, "recipient"):
            self.measures.released(seconds)
        if _log.isEnabledFor(logging.INFO):
            said = {"request": name, "outcome": seen.outcome, "duration_ms": round(seconds * 1000, 3), "trace": seen.trace.trace}
            said["principal"] = None if principal is None else self.pseudonym(principal)
            if seen.reason:
                said["reason"] = seen.reason
            if isinstance(request, Hello):
                said["release"] = release.shown(request.release)
            _log.info("request", extra={"fields": said})

    def pseudonym(self, principal: str) -> str:
        """Return what stands for a principal in this process's log lines."""
        return hmac_sha256(self.salt, principal.encode("utf-8", "surrogatepass"))[:8].hex()
