"""Somebody who ends TLS in between, with a certificate that clients believe and one that the service does: what they can do."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ssl
import threading
from dataclasses import replace

import pytest

from hermetic.crypto import hpke
from hermetic.custody import identities
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_identity import present
from hermetic.errors import IntegrityError, NotAuthenticated
from hermetic.formats import codec, lease_key
from hermetic.formats.messages.base import KeyBlob
from hermetic.formats.messages.greeting import Hello
from tests import world as w
from tests.unit.server import https_world

PROOF = "Hermetic-Recipient-Proof"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    service = https_world.make(tmp_path_factory.mktemp("https") / "world")
    for name in ("ana", "eve"):
        service.enrol(name)
    with contextlib.closing(service), service.running():
        w.seal(service.plain, "dataset/a")
        yield service


@contextlib.contextmanager
def proxy(made, tmp_path, turn):
    """A proxy with a certificate of the domain's authority, that asks the service as eve; `turn` has each request in its hands."""
    eve = present(made.paths("eve"))
    chain, key = identities.server_certificate(made.plain.custodian, (https_world.HOST,))
    (tmp_path / "proxy.pem").write_bytes(chain + b"\n" + bytes(key.view()))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            status, body, *cut = turn(self.path, raw, self.headers.get(PROOF), self.forward)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: cut[0]] if cut else body)
            self.close_connection = bool(cut)

        @staticmethod
        def forward(path, raw, proof):
            upstream = http.client.HTTPSConnection(https_world.HOST, made.server.address[1], timeout=20, context=eve.context)
            with contextlib.closing(upstream):
                upstream.request("POST", path, raw, {"Content-Type": "application/json"} | ({PROOF: proof} if proof else {}))
                answer = upstream.getresponse()
                return answer.status, answer.read()

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "proxy.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ServicePlace(https_world.HOST, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class Thief:
    """Puts a key of their own in the place of the recipient's; `sign` makes the proof that goes along."""

    def __init__(self, made, sign):
        self.made, self.sign, self.got = made, sign, []

    def __call__(self, path, raw, proof, forward):
        asked = codec.decode(raw)
        if not hasattr(asked, "recipient"):
            return forward(path, raw, proof)
        private = hpke.PrivateKey.generate()
        mine = replace(asked, recipient=private.public)
        status, body = forward(path, codec.encode(mine), self.sign(mine, proof))
        answer = codec.decode(body)
        if status != 200:
            return status, body
        domain, (one,) = self.made.world.domain, answer.released
        key = private.open(
            one.lease.key.sealed, lease_key.binding(domain, mine.request, answer.receipt.index, one.lease, mine.recipient)
        )
        self.got.append(bytes(key.view()))
        info = lease_key.binding(domain, asked.request, answer.receipt.index, one.lease, asked.recipient)
        again = KeyBlob(handle=None, sealed=hpke.seal(asked.recipient, key.view(), info))
        return 200, codec.encode(replace(answer, released=(replace(one, lease=replace(one.lease, key=again)),)))


def test_who_only_passes_on_is_not_the_caller(made, tmp_path):
    """What ana signed is no proof under eve's certificate."""
    with proxy(made, tmp_path, lambda path, raw, proof, forward: forward(path, raw, proof)) as place:
        port = made.port("ana", place)
        port.ask(Hello())
        with pytest.raises(NotAuthenticated, match="somebody may stand in between"):
            w.open_(port, "dataset/a")
    assert "release.denied" in w.kinds(made.plain)


@pytest.mark.parametrize("proof", ["passed on", "none", "nonsense", "of another key"])
def test_who_swaps_the_key_gets_nothing(made, tmp_path, proof):
    eve = present(made.paths("eve"))
    proofs = {
        "passed on": lambda mine, given: given,
        "none": lambda mine, given: None,
        "nonsense": lambda mine, given: "not base64url!",
        "of another key": lambda mine, given: eve.proof(made.world.domain, mine.request, b"another key"),
    }
    thief = Thief(made, proofs[proof])
    with proxy(made, tmp_path, thief) as place, pytest.raises(NotAuthenticated):
        w.open_(made.port("ana", place), "dataset/a")
    assert thief.got == []


def test_who_asks_in_their_own_name_is_found_out(made, tmp_path):
    """Eve may have the key, and gets it, on record as eve; ana does not take it from her, though it is sealed to ana's key."""
    eve = present(made.paths("eve"))
    thief = Thief(made, lambda mine, _: eve.proof(made.world.domain, mine.request, mine.recipient))
    with proxy(made, tmp_path, thief) as place, pytest.raises(IntegrityError, match="somebody stands in between"):
        w.open_(made.port("ana", place), "dataset/a")
    assert len(thief.got) == 1
    opened = [said for kind, _, said in w.leaves(made.plain) if kind == "release.intent"]
    assert "eve" in str(opened)


def test_a_proof_is_for_one_request(made):
    """Sent again for another request, or another domain, it is none."""
    ana, public = present(made.paths("ana")), hpke.PrivateKey.generate().public
    asking = w.versions.OpenVersions(w.fresh(), ("dataset/a",), w.Purpose.PREPARE, recipient=public)
    good = ana.proof(made.world.domain, asking.request, public)
    for proof, status in (
        (good, 200),
        (ana.proof(made.world.domain, w.fresh(), public), 401),
        (ana.proof(w.fresh(), asking.request, public), 401),
        (present(made.paths("eve")).proof(made.world.domain, asking.request, public), 401),
    ):
        found = https_world.call(made, "ana", "/v1/open-versions", codec.encode(asking), headers={PROOF: proof})
        assert found[0] == status


def test_half_an_answer_is_none(made, tmp_path):
    """An answer that ends too early is a connection that broke: what may be asked again is, and nobody calls it a bad message."""
    asked = []

    def turn(path, raw, proof, forward):
        asked.append(path)
        status, body = forward(path, raw, proof)
        return (status, body, len(body) // 2) if len(asked) == 1 else (status, body)

    with proxy(made, tmp_path, turn) as place:
        assert made.port("eve", place).ask(Hello()).domain == made.world.domain
    assert asked == ["/v1/hello"] * 2
