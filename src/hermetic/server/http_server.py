"""The service: custody over HTTPS, mutual TLS, on one listener of this process (uvicorn).

    with HttpsServer(custody, ("0.0.0.0", 8443), names=("custody.clinic.example",)) as server:
        server.serve()

Connections are accepted here and not by uvicorn: so that they are counted before their handshake, which has to be done in time, and so
that each gets the certificate and the authorities of now. They are asked for again every few seconds, and before the certificate ends.

`stop` lets what has begun be answered, for a while, then closes. Nothing is lost by a kill: what is on record was durable before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol, cast

import uvicorn

from hermetic.errors import HermeticError, StorageError
from hermetic.server import http_app
from hermetic.server.http_app import Door, application
from hermetic.server.http_limits import Admission, Limits
from hermetic.server.http_protocol import GuardedProtocol
from hermetic.server.http_tls import server_context
from hermetic.telemetry.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from fastapi import FastAPI

    from hermetic.domain.service import Shown

REFRESH_S: Final = 10.0
ASIDE: Final = 4  # threads beside those for requests: who is that, and is custody there
_log = logging.getLogger("hermetic.server")


class Custody(http_app.Custody, Protocol):
    """Who answers, and what the service shows (`domain.service.ServiceCustody`)."""

    def shown(self, names: Sequence[str], before: Shown | None = None) -> Shown:
        """Return certificate, key and authorities; `before` itself while nothing changed. Raises HermeticError."""


class HttpsServer:
    """Listens at an address. Use it in a `with`; `serve` returns after `stop`."""

    certified = True  # whether nobody is talked to without a certificate

    def __init__(
        self,
        custody: Custody,
        address: tuple[str, int],
        *,
        names: Sequence[str],
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Bind and listen. Raises StorageError, NotFound where the domain has no authority."""
        self._custody, self._names, self.limits = custody, tuple(names), limits or Limits()
        self._watch = watch or Watch()
        self._shown = custody.shown(self._names)
        self.context = server_context(self._shown, certified=self.certified)
        self._workers = ThreadPoolExecutor(self.limits.at_once + ASIDE, "custody")
        self._listener = _listening(address)
        self._stopping, self._over = threading.Event(), threading.Event()
        self._over.set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: the port that the kernel chose where none was named."""
        found = self._listener.getsockname()
        return str(found[0]), int(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Accept until `stop` is called, from a signal handler or another thread; return when what had begun is answered."""
        self._over.clear()
        try:
            _Uvicorn(self, self._listener, ready).run()
        finally:
            self._over.set()

    def app(self, clock: Callable[[], float]) -> FastAPI:
        """Return the ASGI application."""
        return application(Door(self._custody, Admission(self.limits, clock), self._workers, self._watch))

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Accept nobody any more. Safe in a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and wait until `serve` has returned."""
        self.stop()
        self._over.wait(2 * self.limits.stop_s)
        self._listener.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def refresh(self) -> None:
        """Ask custody what to show; what cannot be told now stays as it was, and each request is looked at by itself anyway."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._workers, self._custody.shown, self._names, self._shown)
            if found is not self._shown:
                self.context, self._shown = server_context(found, certified=self.certified), found
        except HermeticError as error:
            _log.warning("certificate and authorities stay as they are: %s", error)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without its own way to accept, and to be stopped."""

    def __init__(self, front: HttpsServer, listener: socket.socket, ready: Callable[[], None]) -> None:
        limits = front.limits
        protocol = type("Protocol", (GuardedProtocol,), {"limits": limits, "certified": front.certified})
        super().__init__(
            uvicorn.Config(
                _late(front),
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(limits.idle_s),
                timeout_graceful_shutdown=int(limits.stop_s),
            )
        )
        self._front, self._listener, self._ready = front, listener, ready
        self._handshakes: Counter[str] = Counter()
        self._chores: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - as uvicorn has it
        """Begin to accept."""
        self.servers = []
        self._begin(self._accept())
        self._begin(self._refresh())
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - as uvicorn has it
        """Accept nobody any more; let what has begun be answered."""
        chores = list(self._chores)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        self._listener.close()
        for connection in list(self.server_state.connections):
            cast("GuardedProtocol", connection).hang_up_if_idle()
        await super().shutdown()
        for connection in list(self.server_state.connections):
            cast("GuardedProtocol", connection).transport.abort()
        await asyncio.sleep(0.1)  # transports close in the loop's own time

    async def on_tick(self, counter: int) -> bool:
        """Notice `stop`."""
        self.should_exit = self.should_exit or self._front.stopping
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for whoever runs this."""
        yield

    def _begin(self, work: object) -> None:
        chore: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._front.refresh()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, address = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.warning("accept: %s", error.strerror)  # too many open files, say: those that are there end some day
                await asyncio.sleep(0.5)
                continue
            if self._full(str(address[0])):
                peer.close()
            else:
                self._handshakes[str(address[0])] += 1
                self._begin(self._greet(peer, str(address[0])))

    def _full(self, address: str) -> bool:
        limits, waiting = self._front.limits, self._handshakes.total()
        return (
            waiting >= limits.unproven
            or self._handshakes[address] >= limits.unproven_of_address
            or waiting + len(self.server_state.connections) >= limits.connections
        )

    async def _greet(self, peer: socket.socket, address: str) -> None:
        """Shake hands, in time, and leave the rest to the protocol."""
        loop = asyncio.get_running_loop()
        try:
            peer.setblocking(False)  # noqa: FBT003 - its name
            await loop.connect_accepted_socket(
                self._protocol,
                peer,
                ssl=self._front.context,
                ssl_handshake_timeout=self._front.limits.handshake_s,
                ssl_shutdown_timeout=self._front.limits.handshake_s,
            )
        except (OSError, ssl.SSLError) as error:
            _log.info("no connection with %s: %s", address, error)
        finally:
            self._handshakes[address] -= 1
            if not self._handshakes[address]:
                del self._handshakes[address]

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}, _loop=asyncio.get_running_loop()
        )
        return made


def _late(front: HttpsServer) -> FastAPI:
    """Return the application; the event loop's clock is there once the first request is."""
    return front.app(lambda: asyncio.get_running_loop().time())


def _listening(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise StorageError(f"cannot listen at {host}: {error.strerror or error}", hint="an address of this machine") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise StorageError(
            f"cannot listen at {host}:{port}: {error.strerror}", hint="a free port, and an address of this machine"
        ) from None
    return listener
