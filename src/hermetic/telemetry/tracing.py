"""W3C trace context (www.w3.org/TR/trace-context): a caller's `traceparent` is taken, and what we do in turn is a child of it.

A transport that has headers gives the caller's to `Trace.of`, and sends `Trace.header` on. One without, or one that is not well
formed, begins a new trace.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_LENGTH: Final = 55  # of version 00
current: ContextVar[Trace | None] = ContextVar("hermetic_trace", default=None)
"""The trace of the request that this thread or task is answering."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace, and our own span in it; `sampled` is the caller's wish, which is passed on."""

    trace: str
    span: str
    sampled: bool = False

    @classmethod
    def of(cls, header: str | None) -> Trace:
        """Return our span of the caller's trace, or of a new one."""
        said = header if header is not None and len(header) <= 512 else ""
        found = _FORM.fullmatch(said)
        span = secrets.token_hex(8)
        if found is None or not (int(found[1], 16) and int(found[2], 16)) or (said.startswith("00") and len(said) != _LENGTH):
            return cls(secrets.token_hex(16), span)
        return cls(found[1], span, sampled=bool(int(found[3], 16) & 1))

    @property
    def header(self) -> str:
        """What is sent on as `traceparent`."""
        return f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"
