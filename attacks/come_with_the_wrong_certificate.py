"""Certificates that are not the caller's, not the domain's, or not good any more.

Attacker: whoever has copied a certificate, or runs an authority of their own; somebody whose certificate was revoked.
Tries:    ana's certificate without its key, with a key of their own; a certificate of another domain for the same name, by an
          authority with the same name, alone and with its chain; none; TLS 1.2; a session of before; a revoked certificate on a
          connection that has stayed open.
Stops it: mutual TLS 1.3 and nothing else: the handshake proves the key; only the domain's authorities are believed; no session is
          taken up again; custody looks each request's certificate up, each time.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from _service import HELLO, service, write
from _stage import ROWS, Broken, Stage, main

from hermetic.crypto import x509
from hermetic.errors import Denied, NotAuthenticated
from hermetic.formats import codec
from hermetic.formats.messages.identity import RevokeCredential

if TYPE_CHECKING:
    from hermetic.domain.identity_files import ClientIdentity

DAY_S = 86_400
RAW = b"POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(HELLO), HELLO)


def attack(stage: Stage) -> None:
    with service(stage, "olga", "ana") as made:
        ana = made.paths("ana")
        stage.honest("ana is answered", _answered(made, ana), 200)
        stage.refused("no certificate", lambda: _answered(made, None))
        _stolen(stage, made, ana)
        for what, paths in _forged(made, ana):
            stage.refused(what, lambda paths=paths: _answered(made, paths))
        stage.refused("with TLS 1.2", lambda: _answered(made, ana, maximum_version=ssl.TLSVersion.TLSv1_2))
        _resumed(stage, made, ana)
        _revoked(stage, made, ana)
    stage.honest("its owner reads", stage.read(), ROWS)


def _answered(made, paths: ClientIdentity | None, **versions: ssl.TLSVersion) -> int:
    """Return the status of a hello; raises Denied where TLS ends it, NotAuthenticated for 401."""
    try:
        with contextlib.closing(made.channel(paths, **versions)) as peer:
            return _status(peer)
    except (ssl.SSLError, ConnectionError) as error:
        raise Denied(f"TLS: {getattr(error, 'reason', None) or error}") from None


def _status(peer: ssl.SSLSocket) -> int:
    peer.sendall(RAW)
    answer = http.client.HTTPResponse(peer)
    try:
        answer.begin()
        body = answer.read()
    except http.client.HTTPException:
        raise Denied("the service hung up") from None
    if answer.status == 401:
        raise NotAuthenticated(codec.decode(body).message)
    return answer.status


def _stolen(stage: Stage, made, ana: ClientIdentity) -> None:
    """OpenSSL itself does not load a key that does not belong to a certificate: shown so, there is no other way to try."""
    mine, _ = x509.new_request(f"spiffe://{made.domain}/person/ana")
    paths = replace(ana, key=stage.base / "mine.pem")
    paths.key.write_bytes(bytes(mine.view()))
    stage.refused("ana's certificate, with a key of their own", lambda: _answered(made, paths), Denied)


def _forged(made, ana: ClientIdentity):
    """Certificates for ana's name, each properly signed by somebody else than the domain's authorities."""
    uri, span = f"spiffe://{made.domain}/person/ana", x509.Span.of(int(time.time() * 1000), 3600)
    real = x509.parse(x509.certificates_in(ana.authorities.read_bytes())[0])
    key = x509.AuthorityKey.generate()
    root = x509.root_certificate(key, real.subject, made.domain, x509.Span.of(int(time.time() * 1000), DAY_S))
    own, csr = x509.new_request(uri)
    der = x509.client_certificate(x509.Issuer(root, key), x509.parse_request(csr).public, uri, "ana", span=span)
    folder = made.stage.base / "people"
    yield "of another domain's authority, same names", write(folder / "forged", (der,), own, (root,))
    yield "the same with its chain", write(folder / "chained", (der, root), own, (root,))


def _resumed(stage: Stage, made, ana: ClientIdentity) -> None:
    with contextlib.closing(made.channel(ana)) as peer:
        _status(peer)
        stage.found("no session to take up again", not (peer.session and peer.session.has_ticket) and "the service gives no tickets")


def _revoked(stage: Stage, made, ana: ClientIdentity) -> None:
    with contextlib.closing(made.channel(ana)) as peer:
        if _status(peer) != 200:
            raise Broken("the open connection is not answered")
        made.plain.ask(RevokeCredential("ana", "the laptop is gone"))
        stage.refused("revoked, on the open connection", lambda: _status(peer), NotAuthenticated)
    stage.refused("revoked, on a new connection", lambda: _answered(made, ana), NotAuthenticated)


if __name__ == "__main__":
    main(attack)
