"""Somebody who ends TLS between a caller and the service, and swaps the key that the answer is sealed to.

Attacker: whoever runs a machine on the way, or a proxy; with a certificate of their own, and even one that callers believe.
Tries:    a certificate of their own, made for people, as the service's; one for another name; then, with one that is believed,
          passes a request for keys on as it is; puts their own recipient in its place, with the caller's proof, none, or one of
          their own.
Stops it: callers believe the authorities that they pinned, for the service's name, and certificates made for services; the proof is
          signed by the caller's certificate; and what is asked in the attacker's own name has the attacker's key in its receipt.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from _service import HOST, PROOF, opening, service
from _stage import Stage, main

from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.hpke import seal as hpke_seal
from hermetic.custody import identities
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_identity import present
from hermetic.errors import Denied, IntegrityError, NotAuthenticated
from hermetic.formats import codec, lease_key
from hermetic.formats.messages.base import KeyBlob, Refusal
from hermetic.formats.messages.greeting import Hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def attack(stage: Stage) -> None:
    with service(stage, "ana", "eve") as made:
        paths, mine = made.paths("eve"), stage.base / "eve.pem"
        mine.write_bytes(paths.chain.read_bytes() + paths.key.read_bytes())
        with _between(made, mine, _pass_on) as place:
            stage.refused("eve's own certificate as the service's", lambda: made.port("ana", place).ask(Hello()), Denied)
        with _between(made, _believed(made, "custody.example"), _pass_on) as place:
            stage.refused("one of the authority's for another name", lambda: made.port("ana", place).ask(Hello()), Denied)
        believed = _believed(made, HOST)
        with _between(made, believed, _pass_on) as place:
            stage.honest("with one that is believed ana talks to eve", made.port("ana", place).ask(Hello()).domain, made.domain)
            stage.refused("pass it on", lambda: _open(made, place), NotAuthenticated)
        eve = present(made.paths("eve"))
        for what, sign, error in (
            ("swap the key, with ana's proof", lambda _, proof: proof, NotAuthenticated),
            ("swap the key, without a proof", lambda *_: None, NotAuthenticated),
            ("ask in their own name", lambda asked, _: eve.proof(made.domain, asked.request, asked.recipient), IntegrityError),
        ):
            thief = _Thief(made, sign)
            with _between(made, believed, thief) as place:
                stage.refused(what, lambda place=place: _open(made, place), error)
            stage.honest("what eve got is what eve may have", len(thief.got), int(error is IntegrityError))


def _open(made, place: ServicePlace) -> object:
    with contextlib.closing(made.port("ana", place)) as port:
        return port.ask(opening(b""))


def _pass_on(made, path: str, raw: bytes, proof: str | None) -> object:
    return made.call("eve", path, raw, **({"Hermetic_Recipient_Proof": proof} if proof else {}))[1]


class _Thief:
    """Puts a recipient of their own into each request for keys; `sign` makes the proof that goes along."""

    def __init__(self, made, sign: Callable) -> None:
        self._made, self._sign, self.got = made, sign, []

    def __call__(self, made, path: str, raw: bytes, proof: str | None) -> object:
        asked = codec.decode(raw)
        if not hasattr(asked, "recipient"):
            return _pass_on(made, path, raw, proof)
        private = PrivateKey.generate()
        theirs = replace(asked, recipient=private.public)
        answer = _pass_on(made, path, codec.encode(theirs), self._sign(theirs, proof))
        if isinstance(answer, Refusal):
            return answer
        (one,), index = answer.released, answer.receipt.index
        info = lease_key.binding(made.domain, theirs.request, index, one.lease, theirs.recipient)
        key = private.open(one.lease.key.sealed, info)
        self.got.append(key)
        info = lease_key.binding(made.domain, asked.request, index, one.lease, asked.recipient)
        sealed = KeyBlob(handle=None, sealed=hpke_seal(asked.recipient, key.view(), info))
        return replace(answer, released=(replace(one, lease=replace(one.lease, key=sealed)),))


def _believed(made, name: str) -> Path:
    """A certificate of the domain's authority for a service, that eve should never have had."""
    chain, key = identities.server_certificate(made.plain.custodian, (name,))
    path = made.stage.base / f"{name}.pem"
    path.write_bytes(chain + b"\n" + bytes(key.view()))
    return path


@contextlib.contextmanager
def _between(made, certificate: Path, turn: Callable) -> Iterator[ServicePlace]:
    """Eve's proxy: `turn` has every request in its hands and gives the message to answer with."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            answer = turn(made, self.path, raw, self.headers.get(PROOF))
            body = codec.encode(answer)
            self.send_response(401 if isinstance(answer, Refusal) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A caller who hangs up is what is wanted here."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ServicePlace(HOST, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    main(attack)
