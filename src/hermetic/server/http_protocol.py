"""HTTP/1.1 on one TLS connection: uvicorn's protocol, with the peer's certificate in the scope, and with time-outs.

uvicorn 0.54 offers no `tls` extension, has no limit for the head of a request, for what stands around and after the pieces of its
body, nor for how long one may take to come, and waits for ever for an answer to be read. Who sends a byte now and then, or never
reads, is hung up on here, and so is who sends fields after a body: nobody asks for them, and the parser would keep them all.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from hermetic.server.http_limits import Limits

PEER = "hermetic.peer"
PIPELINED = 16  # requests that wait for the answers to those before them; what is read at once could hold thousands


class _TooManyAhead(Exception):
    """More requests than may wait. Never leaves the parser."""


@dataclass(slots=True, eq=False)
class Peer:
    """Who is at the other end of a connection; `certificate` is empty where none is asked for.

    `account` is whose limits count, None before the first request. `over` is whether the connection is gone.
    """

    certificate: bytes
    address: str
    account: str | None = None
    gone: list[Callable[[], None]] = field(default_factory=list)
    over: bool = False


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A request has to come whole in time, and its answer has to be read in time."""

    limits: Limits
    certified = True  # whether nobody is talked to without a certificate

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._peer: Peer | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._head = 0  # bytes of a head that has no end yet, or beside the content of a body
        self._body = 0  # bytes of content
        self._in_head = True
        self._trailed = False
        self._turned = False  # whether what came last held the end of a head or of a body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note who it is; the first request is due."""
        super().connection_made(transport)
        channel = transport.get_extra_info("ssl_object")
        certificate = None if channel is None else channel.getpeercert(binary_form=True)
        if channel is None or (certificate is None and self.certified):  # the context requires one: this is not how it was set up
            transport.abort()
            return
        self._peer = Peer(certificate or b"", _plain(self.client[0]) if self.client else "")
        self._due(self.limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what the connection held."""
        self._done()
        self.resume_writing()
        super().connection_lost(exc)
        if self._peer is not None:
            self._peer.over = True
            for gone in self._peer.gone:
                gone()
            self._peer.gone.clear()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and see to it that a head has an end."""
        if self.transport.is_closing():
            return
        self._turned, before = False, self._body
        super().data_received(data)
        if self._trailed:
            self._too_long()
        if self.transport.is_closing() or self._turned:
            return
        self._head += len(data) - (self._body - before)
        if self._head > self.limits.head_bytes + self._body:  # pieces of a body may be small
            self._too_long()
        elif not self._in_head:
            return
        elif self._reading is None and (self.cycle is None or self.cycle.response_complete):
            self._due(self.limits.head_s)  # bytes between two requests are the beginning of the next, or nothing

    def on_message_begin(self) -> None:
        """Say in the scope who asks."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[PEER] = self._peer
        self._in_head = True
        if self._reading is None:
            self._due(self.limits.head_s)

    def on_headers_complete(self) -> None:
        """The body is due."""
        self._in_head, self._head, self._body, self._turned = False, 0, 0, True
        self._due(self.limits.body_s)
        if len(self.pipeline) >= PIPELINED:
            raise _TooManyAhead  # ends the parser's work on what has come, and the connection with 400
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a head; one after a body is kept nowhere."""
        if self._in_head:
            super().on_header(name, value)
        self._trailed = self._trailed or not self._in_head

    def on_body(self, body: bytes) -> None:
        """Count what is content."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing is due until the answer was given."""
        super().on_message_complete()
        self._in_head = self._turned = True
        self._head = self._body = 0
        self._done()

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.limits.read_s, self._abort)

    def resume_writing(self) -> None:
        """The peer has read."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def hang_up_if_idle(self) -> None:
        """Hang up on who is not waiting for an answer."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _due(self, within: float) -> None:
        self._done()
        self._reading = self.loop.call_later(within, self._abort)

    def _done(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _abort(self) -> None:
        self.transport.abort()

    def _too_long(self) -> None:
        self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()


def _plain(address: str) -> str:
    """Return an address as policies write it: an IPv4 one that a listener for IPv6 met, as IPv4; of a link's, without the link."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
