"""The ASGI application of the service: requests of the port over HTTP (spec/port.md section 4.1).

    POST /v1/NAME           the canonical message in, the answer or a `refusal` out
    GET /v1/openapi.json    every message and every error, for people and generators
    GET /healthz, /readyz   whether this process is alive, and whether database, root and log can be reached; no data

Everybody who gets here has shown a certificate of the domain's authorities; whether custody knows its principal is asked for each
request. A request goes through its caller's rate, its head is looked at, its body is read, a large one once there is a place for it,
and then it waits for its turn.
Who sends a GET is counted nowhere, since whether the process lives is not custody's to say: such a connection ends with its answer,
and custody is asked whether it is ready once a second at most.
Custody works in threads. Whatever is sent here, the answer is a message, and no caller causes a 5xx other than 503.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, Protocol

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from hermetic.domain.refusals import refusal_of
from hermetic.domain.service import Asked
from hermetic.errors import DatabaseUnavailable, FormatError, HermeticError, KeyServiceUnavailable, NotFound, UsageError
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal, Request
from hermetic.server.http_limits import STRANGERS, Admission, TooMany
from hermetic.server.http_protocol import PEER
from hermetic.server.http_status import status_of
from hermetic.server.openapi import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from typing import TypeVar

    from starlette.types import Receive, Scope, Send

    from hermetic.server.http_protocol import Peer
    from hermetic.telemetry.watching import Seen, Watch

    T = TypeVar("T")

MEDIA: Final = "application/json"
READY_S: Final = 1.0  # for how long an answer of /readyz stands
CLOSE: Final = {"connection": "close"}
KEY_HEADER: Final = "idempotency-key"
PROOF_HEADER: Final = "hermetic-recipient-proof"
_log = logging.getLogger("hermetic.server")


class Custody(Protocol):
    """Who answers (`domain.service.ServiceCustody`)."""

    def account(self, certificate: bytes) -> str | None:
        """Return whose certificate this is, None for nobody whom the domain knows. Permits nothing: it says whose limits count."""

    def ask(self, asked: Asked, request: Request[Any], raw: bytes) -> bytes:
        """Answer, as a canonical message. Raises HermeticError."""

    def check_ready(self) -> None:
        """Raise HermeticError when database, root or log cannot be reached."""


class _Refused(Exception):
    """A request that HTTP itself says no to."""

    def __init__(self, status: int, error: HermeticError) -> None:
        super().__init__(error.message)
        self.status, self.error = status, error


class Door:
    """The ASGI endpoints. `workers` are the threads in which custody works. `answered` are the only messages taken, None for all."""

    answered: frozenset[str] | None = None
    limit = codec.MESSAGE_LIMIT

    def __init__(self, custody: Custody, admission: Admission, workers: Executor, watch: Watch) -> None:
        self._custody, self._admission, self._workers, self._watch = custody, admission, workers, watch
        self._looking, self._looked, self._is_ready = asyncio.Lock(), float("-inf"), False

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/NAME`."""
        request = HttpRequest(scope, receive)
        try:
            peer: Peer = scope[PEER]
            account = await self._account(peer)
            self._admission.charge(account)
            length = self._check_head(request)
            async with self._admission.reading(account, length):
                raw = await _body(request, self.limit)
            async with self._admission.turn(account):
                response = await self._in_thread(self._answer, request, raw)
                await _send(response, send)
        except ClientDisconnect:
            return
        except TooMany as error:
            self._watch.measures.turned_away(error.why)
            told = KeyServiceUnavailable(error.message, hint=error.hint)
            later = {"retry-after": str(error.after_s)}
            await _send(_refusal(told, error.status, later | (CLOSE if error.why == "connections" else {})), send)
        except _Refused as refused:
            await _send(_refusal(refused.error, refused.status, CLOSE), send)
        except HermeticError as error:  # who it is cannot be found out
            await _send(_refusal(error, status_of(error), CLOSE), send)

    async def ready(self, _request: HttpRequest) -> Response:
        """Answer `GET /readyz`."""
        async with self._looking:
            if self._admission.now() - self._looked >= READY_S:
                self._is_ready = await self._look()
                self._looked = self._admission.now()
        if not self._is_ready:
            return Response("unavailable\n", 503, CLOSE, "text/plain")
        return Response("ready\n", 200, CLOSE, "text/plain")

    async def _look(self) -> bool:
        try:
            await self._in_thread(self._custody.check_ready)
        except HermeticError as error:
            _log.warning("not ready: %s", error)
            return False
        return True

    async def _account(self, peer: Peer) -> str:
        """Return whose limits count; the first request of a connection counts the connection too."""
        if peer.account is None:
            known: str | None = await self._in_thread(self._custody.account, peer.certificate)
            peer.account = self._admit(peer, known or STRANGERS)
        return peer.account

    def _admit(self, peer: Peer, account: str) -> str:
        """Count a connection of `account`, until it is gone. Raises TooMany, ClientDisconnect for one that went away meanwhile."""
        if peer.over:
            raise ClientDisconnect
        self._admission.connect(account)
        peer.gone.append(lambda: self._admission.disconnect(account))
        return account

    def _check_head(self, request: HttpRequest) -> int | None:
        """Return the length of the body, None if it is not said. Raises _Refused for a request whose body is not read at all."""
        if self.answered is not None and request.path_params["name"] not in self.answered:
            raise _Refused(404, NotFound("this listener answers no such message", hint=", ".join(sorted(self.answered))))
        return _check_head(request, self.limit)

    def _answer(self, request: HttpRequest, raw: bytes) -> Response:
        """Decode and ask; in a thread."""
        name = request.path_params["name"]
        try:
            asked = _decoded(name, raw)
        except HermeticError as error:
            return _refusal(error, status_of(error))
        peer: Peer = request.scope[PEER]
        given = Asked(peer.certificate, peer.address, request.headers.get(PROOF_HEADER), request.headers.get(KEY_HEADER))
        with self._watch.request(asked, principal=peer.account, traceparent=request.headers.get("traceparent")) as seen:
            response = self._asked(given, asked, raw, seen)
        response.headers["traceparent"] = seen.trace.header
        return response

    def _asked(self, given: Asked, asked: Request[Any], raw: bytes, seen: Seen) -> Response:
        try:
            return Response(self._custody.ask(given, asked, raw), media_type=MEDIA)
        except HermeticError as error:
            seen.refused(error)
            return _refusal(error, status_of(error))
        except Exception:  # noqa: BLE001 - a defect must not end the service, nor tell a caller what custody holds
            seen.failed()
            return _defect(codec.name_of(type(asked)))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)


def application(door: Door) -> FastAPI:
    """Return the application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False
    described = codec_document()

    async def openapi(_request: HttpRequest) -> Response:
        return Response(described, 200, CLOSE, MEDIA)

    async def alive(_request: HttpRequest) -> Response:
        return Response("alive\n", 200, CLOSE, "text/plain")

    app.router.routes.extend(
        [
            Route("/v1/openapi.json", openapi, methods=["GET"]),
            Route("/v1/{name}", _Endpoint(door), methods=["POST"]),
            Route("/healthz", alive, methods=["GET"]),
            Route("/readyz", door.ready, methods=["GET"]),
        ]
    )
    return app


class _Endpoint:
    """An ASGI endpoint as an object: a function would be wrapped, and its answer sent after its turn is over."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door.message(scope, receive, send)


def codec_document() -> bytes:
    """Return the OpenAPI document as it is served."""
    return document().encode("utf-8")


async def _no_route(_request: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _refusal(UsageError("messages are sent by POST"), 405, dict(getattr(error, "headers", None) or {}) | CLOSE)
    return _refusal(NotFound("the service has no such path", hint="see /v1/openapi.json"), status, CLOSE)


def _check_head(request: HttpRequest, limit: int) -> int | None:
    """Return the length of the body, None if it is not said. Raises _Refused for a request whose body is not read at all."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA:
        raise _Refused(415, UsageError(f"a message is {MEDIA}"))
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _Refused(415, UsageError("a message is not compressed"))
    length = headers.get("content-length")
    if length is None:
        return None if "transfer-encoding" in headers else 0
    if len(length) > 16 or not length.isdecimal() or int(length) > limit:
        raise _too_large(limit)
    return int(length)


async def _body(request: HttpRequest, limit: int) -> bytes:
    """Return the body; one without a length may turn out to be too long."""
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > limit:
            raise _too_large(limit)
    return bytes(found)


def _decoded(name: str, raw: bytes) -> Request[Any]:
    asked = codec.decode(raw)
    if not isinstance(asked, Request) or codec.name_of(type(asked)) != name:
        raise FormatError(f"this message is no {name[:64]!r}, which the path asks for")
    return asked


def _too_large(limit: int) -> _Refused:
    return _Refused(413, FormatError(f"a message has at most {limit} bytes"))


def _refusal(error: HermeticError, status: int, headers: dict[str, str] | None = None) -> Response:
    if isinstance(error, DatabaseUnavailable):  # what the driver says names hosts and users
        _log.warning("%s", error.message)
        error = DatabaseUnavailable("the database of custody is away", hint="try again; if it lasts, tell whoever runs custody")
    return Response(codec.encode(refusal_of(error)), status, headers, MEDIA)


def _defect(name: str) -> Response:
    number = secrets.token_hex(4)
    _log.exception("defect %s in answering %s", number, name[:64])
    told = Refusal("HermeticError", f"custody failed; its log has it under {number}", None, ())
    return Response(codec.encode(told), 500, None, MEDIA)


async def _send(response: Response, send: Send) -> None:
    """Send an answer in two steps: the second waits until the first was read, so that the turn lasts as long."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
