"""What the service takes: sizes, times, numbers; and that nothing which is sent to it makes it fail."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading

import pytest

from hermetic.crypto import x509
from hermetic.errors import DatabaseUnavailable, KeyServiceUnavailable, PolicyDenied, StorageError
from hermetic.formats import codec
from hermetic.formats.messages.base import Done, Refusal
from hermetic.formats.messages.greeting import Hello, Welcome
from hermetic.formats.messages.identity import RenewCertificate
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose
from hermetic.server import http_protocol
from tests import world as w
from tests.unit.server import https_world
from tests.unit.server.https_world import Stub, call, channel, said

HELLO = codec.encode(Hello())
HEAD = b"POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    made = https_world.make(tmp_path_factory.mktemp("https") / "world")
    made.enrol("ana")
    made.enrol("ben", roles=("auditor",))
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="module")
def made(service):
    with service.running() as running:
        yield running


def refusal(body):
    return codec.decode(body).error


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/hello", HELLO, {}, 200),
        ("/v1/hello", HELLO, {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("/v1/hello", HELLO, {"Content-Type": "text/plain"}, 415),
        ("/v1/hello", HELLO, {"Content-Encoding": "gzip"}, 415),
        ("/v1/hello", b"", {}, 422),
        ("/v1/hello", b"{}", {}, 422),
        ("/v1/hello", b"\xff\xfe", {}, 422),
        ("/v1/hello", b"[" * 100_000, {}, 422),
        ("/v1/hello", b'{"a":' * 50_000, {}, 422),
        ("/v1/hello", HELLO + b" ", {}, 422),
        ("/v1/hello", codec.encode(ListKeys()), {}, 422),
        ("/v1/done", codec.encode(Done()), {}, 422),
        ("/v1/no-such", HELLO, {}, 422),
        ("/v1/", HELLO, {}, 404),
        ("/v1/hello/", HELLO, {}, 404),
        ("/v2/hello", HELLO, {}, 404),
        ("/%2e%2e/%00", HELLO, {}, 404),
        ("/docs", HELLO, {}, 404),
    ],
)
def test_what_is_no_request(made, path, body, headers, status):
    found, _, text = call(made, "ana", path, body, headers=headers)
    assert (found, isinstance(codec.decode(text), Welcome | Refusal)) == (status, True), text


def test_other_methods(made):
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        status, headers, text = call(made, "ana", "/v1/hello", HELLO, method=method)
        assert (status, headers["allow"], refusal(text)) == (405, "POST", "UsageError")


def test_probes_and_document(made):
    assert call(made, "ana", "/healthz", method="GET")[::2] == (200, b"alive\n")
    assert call(made, "ana", "/readyz", method="GET")[::2] == (200, b"ready\n")
    status, _, text = call(made, "ana", "/v1/openapi.json", method="GET")
    assert (status, json.loads(text)["openapi"]) == (200, "3.1.0")


def test_not_ready(service, monkeypatch):
    custody = Stub(service.custody, service.custody.ask)

    def fails():
        raise KeyServiceUnavailable("secret detail")

    custody.check_ready = fails
    with service.running(custody=custody):
        assert call(service, "ana", "/readyz", method="GET")[::2] == (503, b"unavailable\n")


def test_addresses_are_what_policies_write():
    written = {"::ffff:192.0.2.7": "192.0.2.7", "192.0.2.7": "192.0.2.7", "fe80::1%eth0": "fe80::1", "2001:db8::7": "2001:db8::7"}
    assert {address: http_protocol._plain(address) for address in written} == written


def test_a_database_that_is_away(service):
    """Who it is cannot be found out: nothing is answered, and nobody is taken for a stranger for good."""
    custody, away = Stub(service.custody, service.custody.ask), [True]

    def account(certificate):
        if away:
            raise StorageError("secret detail")
        return service.custody.account(certificate)

    custody.account = account
    with service.running(custody=custody):
        status, _, text = call(service, "ana", "/v1/hello", HELLO)
        assert (status, refusal(text)) == (503, "StorageError")
        away.clear()
        assert call(service, "ana", "/v1/hello", HELLO)[0] == 200


def test_too_long(made):
    """Told before the body is there; and once it is too long, where no length was said."""
    with contextlib.closing(channel(made, "ana")) as peer:
        peer.sendall(HEAD + b"content-length: 4194305\r\n\r\n")
        assert said(peer).startswith(b"HTTP/1.1 413")
    with contextlib.closing(channel(made, "ana")) as peer:
        peer.sendall(HEAD + b"content-length: 99999999999999999999999999\r\n\r\n")
        assert said(peer)[:12] in {b"HTTP/1.1 413", b"HTTP/1.1 400"}
    with contextlib.closing(channel(made, "ana")) as peer:
        peer.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(5):
                peer.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        with contextlib.suppress(OSError):  # the answer may be lost in a reset; that nothing more is taken is what counts
            assert said(peer).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"POST /v1/hello HTTP/9.9\r\n\r\n",
        HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc",
        HEAD + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        HEAD + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http(made, sent):
    with contextlib.closing(channel(made, "ana")) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            assert b"HTTP/1.1 5" not in said(peer)
    assert call(made, "ana", "/v1/hello", HELLO)[0] == 200


def test_a_wrong_signature_is_the_callers_mistake(made):
    """A 5xx is for what is wrong here: whoever watches the service would be called for what somebody sends."""
    csr = bytearray(x509.new_request(f"spiffe://{made.world.domain}/person/ana")[1])
    csr[-1] ^= 1
    status, _, text = call(made, "ana", "/v1/renew-certificate", codec.encode(RenewCertificate(bytes(csr))))
    assert (status, refusal(text)) == (422, "SignatureError")


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(HELLO) + HELLO + b"\r\n"


@pytest.mark.parametrize(
    "after",
    [
        b"0\r\nx: y\r\n\r\n",
        b"0\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"0\r\nx: " + b"y" * 400_000 + b"\r\n\r\n",
        b"1;" + b"y" * 400_000 + b"\r\n",
    ],
)
def test_what_stands_beside_a_body_is_not_kept(made, after):
    """Fields after a body, and around its pieces, would be read and kept without a limit: nobody has use for them."""
    with contextlib.closing(channel(made, "ana")) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(CHUNKED + after)
        with contextlib.suppress(OSError):
            assert b" 200 " not in said(peer)
    assert call(made, "ana", "/v1/hello", HELLO)[0] == 200


def test_a_body_may_come_in_small_pieces(made):
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in HELLO)
    with contextlib.closing(channel(made, "ana")) as peer:
        peer.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        assert b" 200 " in peer.recv(65536)


def test_requests_that_wait_for_answers_are_few(service):
    """Of what is read at once thousands could be the heads of requests, which take much more room than they had on the way."""
    begun, go_on = threading.Event(), threading.Event()

    def ask(asked, request, raw):
        begun.set()
        assert go_on.wait(20)
        return service.custody.ask(asked, request, raw)

    one = HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO
    with service.running(custody=Stub(service.custody, ask)), contextlib.closing(channel(service, "ana")) as peer:
        peer.sendall(one * (http_protocol.PIPELINED + 3))
        assert begun.wait(20)
        go_on.set()
        with contextlib.suppress(OSError):
            assert said(peer).count(b" 200 ") <= 1
    with service.running(), contextlib.closing(channel(service, "ana")) as peer:
        peer.sendall(one * 3)
        found = b""
        while found.count(b" 200 ") < 3:
            found += peer.recv(65536)


def hung_up(peer):
    try:
        return b" 200 " not in said(peer)
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/he", HEAD, HEAD + b"content-length: 10\r\n\r\n", HEAD + b"content-length: 10\r\n\r\nabc", b"\r\n"]
)
def test_who_is_slow_is_hung_up_on(service, sent):
    with service.running(head_s=0.2, body_s=0.2), contextlib.closing(channel(service, "ana")) as peer:
        peer.sendall(sent)
        assert hung_up(peer)
        assert call(service, "ana", "/v1/hello", HELLO)[0] == 200


def test_who_trickles_between_two_requests(service):
    with service.running(head_s=0.2), contextlib.closing(channel(service, "ana")) as peer:
        peer.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO)
        assert b" 200 " in peer.recv(65536)
        peer.sendall(b"\r\n")
        peer.settimeout(20)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while peer.recv(65536):
                pass


def test_who_never_reads(service):
    """The answer fills what the network takes; then its turn ends, and others are answered."""
    big = codec.encode(Hello()) + b" " * 16_000_000
    custody = Stub(service.custody, lambda asked, request, raw: big if isinstance(request, ListKeys) else HELLO)
    with service.running(custody=custody, read_s=0.2, at_once=1, turn_s=10.0):
        raw = codec.encode(ListKeys())
        with contextlib.closing(channel(service, "ana")) as peer:
            peer.sendall(HEAD.replace(b"hello", b"list-keys") + b"content-length: %d\r\n\r\n" % len(raw) + raw)
            assert call(service, "ana", "/v1/hello", HELLO)[0] == 200


def test_so_many_requests_a_second(service):
    with service.running(rate=0.001, burst=2.0):
        found = [call(service, "ana", "/v1/hello", HELLO) for _ in range(3)]
        assert [status for status, _, _ in found] == [200, 200, 429]
        assert int(found[2][1]["retry-after"]) > 0
        assert refusal(found[2][2]) == "KeyServiceUnavailable"
        assert call(service, "ben", "/v1/hello", HELLO)[0] == 200


def test_so_many_at_once(service):
    """Who has no turn is told to come back, and our client does."""
    begun, go_on = threading.Event(), threading.Event()

    def ask(asked, request, raw):
        if isinstance(request, ListKeys):
            begun.set()
            assert go_on.wait(20)
        return service.custody.ask(asked, request, raw)

    with service.running(custody=Stub(service.custody, ask), at_once_of_principal=1, turn_s=0.1):
        found = []
        slow = threading.Thread(target=lambda: found.append(call(service, "ana", "/v1/list-keys", codec.encode(ListKeys()))))
        slow.start()
        assert begun.wait(20)
        status, headers, text = call(service, "ana", "/v1/hello", HELLO)
        assert (status, headers["retry-after"], refusal(text)) == (503, "1", "KeyServiceUnavailable")
        assert call(service, "ben", "/v1/hello", HELLO)[0] == 200
        patient = threading.Thread(target=lambda: found.append(service.port("ana").ask(Hello())))
        patient.start()
        go_on.set()
        slow.join(30)
        patient.join(30)
        assert found[0][0] == 200
        assert found[1].domain == service.world.domain


def test_so_many_connections_of_one(service):
    with service.running(of_principal=1), contextlib.closing(channel(service, "ana")) as peer:
        peer.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO)
        assert b" 200 " in peer.recv(65536)
        assert call(service, "ana", "/v1/hello", HELLO)[0] == 429
        assert call(service, "ben", "/v1/hello", HELLO)[0] == 200


def test_who_goes_away_while_they_are_looked_up_is_counted_out(service, monkeypatch):
    """A connection that is gone holds no place, or a bad network would keep its callers out for good."""
    custody, looking, go_on = Stub(service.custody, service.custody.ask), threading.Event(), threading.Event()

    def account(certificate):
        looking.set()
        assert go_on.wait(20)
        return service.custody.account(certificate)

    gone, lost = threading.Event(), http_protocol.GuardedProtocol.connection_lost

    def noticed(protocol, error):
        lost(protocol, error)
        gone.set()

    monkeypatch.setattr(http_protocol.GuardedProtocol, "connection_lost", noticed)
    custody.account = account
    with service.running(custody=custody, of_principal=1):
        peer = channel(service, "ana")
        peer.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO)
        assert looking.wait(20)
        peer.close()
        assert gone.wait(20)
        go_on.set()
        assert call(service, "ana", "/v1/hello", HELLO)[0] == 200


def test_who_has_too_many_connections_is_hung_up_on(service):
    with service.running(of_principal=1), contextlib.closing(channel(service, "ana")) as first:
        first.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO)
        assert b" 200 " in first.recv(65536)
        with contextlib.closing(channel(service, "ana")) as second:
            second.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(HELLO) + HELLO)
            assert said(second).startswith(b"HTTP/1.1 429")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/openapi.json", "/none"])
def test_who_only_looks_holds_no_connection(made, path):
    """It counts as nobody's: it ends with its answer."""
    with contextlib.closing(channel(made, "ana")) as peer:
        peer.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode() * 3)
        assert said(peer).count(b"HTTP/1.1 ") == 1


def test_custody_is_not_asked_for_each_look(service):
    custody, asked = Stub(service.custody, service.custody.ask), []
    custody.check_ready = lambda: asked.append(1)
    with service.running(custody=custody):
        for _ in range(3):
            assert call(service, "ana", "/readyz", method="GET")[::2] == (200, b"ready\n")
    assert len(asked) < 3


def test_strangers_have_few_turns(service):
    """Who keeps custody at work among those whom nobody knows holds up other strangers, and nobody else."""
    service.enrol("old")
    service.revoke("old")
    begun, go_on = threading.Event(), threading.Event()

    def ask(asked, request, raw):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(20)
        return service.custody.ask(asked, request, raw)

    with service.running(custody=Stub(service.custody, ask), at_once_of_strangers=1, turn_s=0.1):
        first = threading.Thread(target=lambda: call(service, "old", "/v1/hello", HELLO))
        first.start()
        try:
            assert begun.wait(20)
            assert call(service, "old", "/v1/hello", HELLO)[0] == 503
            assert call(service, "ana", "/v1/hello", HELLO)[0] == 200
        finally:
            go_on.set()
            first.join(30)


def test_who_sends_slowly_keeps_nobody_waiting(service):
    """Not even with as many bodies as requests may be at work; of large ones nobody has more than a few on the way."""
    small = HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(HELLO)
    large = HEAD + b"expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n"
    with service.running(at_once=2, bodies=2, bodies_of_principal=1, turn_s=0.1, body_s=20.0), contextlib.ExitStack() as slow:
        for head in (small, small, small, large):
            peer = slow.enter_context(contextlib.closing(channel(service, "ben")))
            peer.sendall(head)
            assert b" 100 " in peer.recv(65536)
        for head in (large, HEAD + b"transfer-encoding: chunked\r\n\r\n"):
            peer = slow.enter_context(contextlib.closing(channel(service, "ben")))
            peer.sendall(head)
            assert b" 503 " in peer.recv(65536)
        for name in ("ben", "ana"):
            assert call(service, name, "/v1/hello", HELLO)[0] == 200
        peer = slow.enter_context(contextlib.closing(channel(service, "ana")))
        peer.sendall(large)
        assert b" 100 " in peer.recv(65536)


def test_who_shakes_no_hands(service):
    """Connections without a handshake are few, and not for long."""
    with service.running(unproven_of_address=2, handshake_s=0.5):
        idle = [socket.create_connection(service.server.address, timeout=20) for _ in range(4)]
        for peer in idle:
            with contextlib.closing(peer), contextlib.suppress(ConnectionError):
                assert peer.recv(1) == b""
        assert call(service, "ana", "/v1/hello", HELLO)[0] == 200


def test_a_flood_of_denials_is_counted(made):
    w.seal(made.port("ana"), "dataset/flood")
    before = len(w.leaves(made.plain))
    port = made.port("ben")
    for _ in range(20):
        with pytest.raises(PolicyDenied):
            w.open_(port, "dataset/flood", purpose=Purpose.TRAIN)
    assert len(w.leaves(made.plain)) - before < 5


def test_what_has_begun_is_answered(service):
    begun, go_on, found = threading.Event(), threading.Event(), []

    def ask(asked, request, raw):
        begun.set()
        assert go_on.wait(20)
        return service.custody.ask(asked, request, raw)

    with service.running(custody=Stub(service.custody, ask), stop_s=20.0) as running:
        slow = threading.Thread(target=lambda: found.append(call(service, "ana", "/v1/hello", HELLO)))
        slow.start()
        assert begun.wait(20)
        running.server.stop()
        go_on.set()
        slow.join(30)
    assert found[0][0] == 200


def test_a_defect_tells_nothing(service, caplog):
    def ask(asked, request, raw):
        raise ValueError("secret detail")

    with service.running(custody=Stub(service.custody, ask)):
        status, _, text = call(service, "ana", "/v1/hello", HELLO)
    assert status == 500
    assert b"secret" not in text
    assert "secret detail" in caplog.text


def test_where_the_database_is_stays_with_custody(service, caplog):
    def ask(asked, request, raw):
        raise DatabaseUnavailable(
            'the database server is away: connection to server at "10.1.2.3", port 5432 failed', hint="look at 10.1.2.3"
        )

    with service.running(custody=Stub(service.custody, ask)):
        status, _, text = call(service, "ana", "/v1/hello", HELLO)
        with pytest.raises(DatabaseUnavailable, match="the database of custody is away"):
            service.port("ana").ask(Hello())
    assert (status, b"10.1.2.3" in text) == (503, False)
    assert "10.1.2.3" in caplog.text


def test_requests_for_keys_name_a_recipient(made):
    asking = codec.encode(OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE))
    assert call(made, "ana", "/v1/open-versions", asking)[0] == 422
