"""Requests of the service that mean one thing to one reader and another to the next, and keys of others' requests.

Attacker: somebody with a certificate of their own, who wants to be taken for a colleague, or to get a colleague's answer.
Tries:    two lengths, a length with Transfer-Encoding, an absolute URI, a second Host; headers by which proxies hand on whose
          certificate it was; the idempotency key of a colleague's request, with the same bytes; many certificates, to have many
          callers' limits.
Stops it: one parser, which refuses what is ambiguous; who asks is what TLS saw on this connection, and no header; an answer is kept
          for its caller and key together; limits are a principal's, whatever certificate.
"""

from __future__ import annotations

import contextlib
import http.client

from _service import HELLO, Service, fresh, service
from _stage import Broken, Stage, main

from hermetic.errors import Denied, KeyServiceUnavailable
from hermetic.formats import codec
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.runs import FinishRun, StartRun
from hermetic.ids import Purpose

HEAD = b"POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
KEYS = codec.encode(ListKeys())
LENGTH = b"content-length: %d\r\n" % len(HELLO)
SMUGGLED = b"POST /v1/list-keys HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(KEYS) + KEYS


def attack(stage: Stage) -> None:
    with service(stage, "ana", rate=0.001, burst=40.0) as made:
        made.enrol("eve", "auditor")
        for what, raw in {
            "two lengths": HEAD + LENGTH + b"content-length: 3\r\n\r\n" + HELLO,
            "a length and chunks": HEAD + LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
            "chunks, obscured": HEAD + LENGTH + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
            "a length that is no number": HEAD + b"content-length: +%d\r\n\r\n" % len(HELLO) + HELLO,
        }.items():
            stage.refused(what, lambda raw=raw: _sent(made, raw), Denied)
        _headers(stage, made)
        _idempotency(stage, made)
        _many(stage, made)


def _sent(made: Service, raw: bytes) -> str:
    """Send raw bytes; raises Denied unless every answer on the connection is a 200."""
    with contextlib.closing(made.channel(made.paths("eve"))) as peer:
        peer.sendall(raw)
        answer = http.client.HTTPResponse(peer)
        try:
            answer.begin()
        except (http.client.HTTPException, OSError) as error:
            raise Denied(f"hung up ({type(error).__name__})") from None
        if answer.status != 200:
            raise Denied(f"HTTP {answer.status}")
        return answer.read().decode()


def _headers(stage: Stage, made: Service) -> None:
    """Only ana may end her run, whoever eve's headers name."""
    with contextlib.closing(made.port("ana")) as port:
        raw = codec.encode(FinishRun(port.ask(StartRun(fresh(), "train", Purpose.TRAIN)).run, "finished"))
    pem = made.paths("ana").chain.read_text().replace("\n", " ")
    named = {"X_Forwarded_Client_Cert": f"URI=spiffe://{made.domain}/person/ana", "X_SSL_Client_Cert": pem, "Client_Cert": ":YW5h:"}
    for name, value in {**named, "X_Forwarded_For": "127.0.0.1", "X_Remote_User": "ana", "Authorization": "Bearer ana"}.items():
        stage.refused(
            name.replace("_", "-"), lambda name=name, value=value: _done(made.call("eve", "/v1/finish-run", raw, **{name: value}))
        )
    status, _ = made.call("eve", f"https://{made.place.host}:{made.place.port}/v1/finish-run", raw)
    stage.found("an absolute URI", status != 200 and f"HTTP {status}")
    stage.honest("ana ends it", made.call("ana", "/v1/finish-run", raw)[0], 200)


def _done(answer: tuple[int, object]) -> object:
    if answer[0] != 200:
        raise Denied(f"HTTP {answer[0]}: {answer[1].error}")
    return answer[1]


def _idempotency(stage: Stage, made: Service) -> None:
    with contextlib.closing(made.port("ana")) as port:
        raw = codec.encode(FinishRun(port.ask(StartRun(fresh(), "train", Purpose.TRAIN)).run, "finished"))
    key = {"Idempotency_Key": "key-of-ana-00000001"}
    first = _done(made.call("ana", "/v1/finish-run", raw, **key))
    stage.honest("ana is answered the same again", _done(made.call("ana", "/v1/finish-run", raw, **key)), first)
    stage.refused("ana's key with ana's bytes", lambda: _done(made.call("eve", "/v1/finish-run", raw, **key)), Denied)


def _many(stage: Stage, made: Service) -> None:
    for number in range(3):
        made.certify("eve", f"eve-{number}")

    def flood() -> None:
        for number in range(60):
            status, answer = made.call(f"eve-{number % 3}", "/v1/hello", HELLO)
            if status == 429:
                raise KeyServiceUnavailable(answer.message)
            if status != 200:
                raise Broken(f"HTTP {status}")

    stage.refused("three certificates for one caller's limit", flood, KeyServiceUnavailable)


if __name__ == "__main__":
    main(attack)
