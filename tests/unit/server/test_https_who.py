"""Who is answered over HTTPS: certificates that are none, over, or of others; and what the client believes."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import http.client
import socket
import ssl
import threading

import pytest

from hermetic.crypto import x509
from hermetic.custody import authority_keys, repeating
from hermetic.db import tables
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_identity import present, version_of
from hermetic.domain.https_port import SILENT, HttpsPort, HttpsTransport
from hermetic.domain.leases import LeaseHolder
from hermetic.domain.remote import SECRET, Broken
from hermetic.errors import (
    ConfigError,
    Conflict,
    Denied,
    HermeticError,
    KeyServiceUnavailable,
    LeaseEnded,
    NotAuthenticated,
    NotFound,
    StorageError,
    UsageError,
)
from hermetic.formats import codec
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.policy import SetRoles
from hermetic.formats.messages.second_factors import BeginWebauthn
from tests import world as w
from tests.unit.server import https_world
from tests.unit.server.https_world import call, channel, now, said

HELLO = codec.encode(Hello())
RAW = b"POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(HELLO), HELLO)
DAY_S = 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    service = https_world.make(tmp_path_factory.mktemp("https") / "world")
    service.enrol("ana")
    service.enrol("olga", roles=("domain-owner",))
    with contextlib.closing(service), service.running():
        yield service


def nothing(peer):
    """Whether the other side hangs up without an answer."""
    try:
        peer.sendall(RAW)
        return said(peer) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def forged(made, tmp_path, issuer, *, start_ms, seconds=3600, name="ana", chain=()):
    uri = f"spiffe://{made.world.domain}/person/{name}"
    key, csr = x509.new_request(uri)
    public = x509.parse_request(csr).public
    der = x509.client_certificate(issuer, public, uri, name, span=x509.Span.of(start_ms, seconds))
    return https_world.write(tmp_path / "forged", (der, *chain), key, x509.certificates_in(made.paths("ana").authorities.read_bytes()))


def test_without_a_certificate(made):
    with contextlib.closing(channel(made)) as peer:
        assert nothing(peer)


def test_an_old_version_of_tls(made):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        channel(made, "ana", maximum=ssl.TLSVersion.TLSv1_2)


def test_signed_by_itself_or_by_somebody_else(made, tmp_path):
    key = x509.AuthorityKey.generate()
    root = x509.root_certificate(key, "custody", made.world.domain, x509.Span.of(now(), DAY_S))
    for chain in ((), (root,)):
        with contextlib.closing(
            channel(made, paths=forged(made, tmp_path, x509.Issuer(root, key), start_ms=now(), chain=chain))
        ) as peer:
            assert nothing(peer)


@pytest.mark.parametrize(("start", "answered"), [(-7200_000, False), (0, True)])
def test_of_the_domains_authority(made, tmp_path, start, answered):
    """One that is over does not get through TLS; one that custody has no record of does, and is nobody."""
    custodian = made.plain.custodian
    with custodian.database.read(custodian.row_keys) as session:
        issuer, above = authority_keys.signer(custodian, session)
        chain = authority_keys.chain_of(session, above)
    paths = forged(made, tmp_path, issuer, start_ms=now() + start, chain=chain)
    with contextlib.closing(channel(made, paths=paths)) as peer:
        if not answered:
            assert nothing(peer)
            return
        peer.sendall(RAW.replace(b"host: x", b"connection: close"))
        text = said(peer)
        assert text.startswith(b"HTTP/1.1 401")
        assert codec.decode(text.partition(b"\r\n\r\n")[2]).error == "NotAuthenticated"


def test_whose_certificate_is_over_is_told_so(made, tmp_path):
    """The service hangs up after the handshake: the client knows by its own clock why."""
    custodian = made.plain.custodian
    with custodian.database.read(custodian.row_keys) as session:
        issuer, above = authority_keys.signer(custodian, session)
        chain = authority_keys.chain_of(session, above)
    paths = forged(made, tmp_path, issuer, start_ms=now() - 7200_000, chain=chain)
    port = HttpsPort(made.place, made.world.domain, paths)
    with contextlib.closing(port), pytest.raises(NotAuthenticated) as refused:
        port.ask(Hello())
    assert refused.value.exit_code == 3
    assert "identity request" in refused.value.hint or "in date" in refused.value.hint


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "closed"),
        ConnectionResetError(104, "reset"),
        BrokenPipeError(32, "broken"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whose_certificate_is_over_is_told_so_however_the_connection_ends(made, tmp_path, monkeypatch, error):
    """Which of them it is depends on whether the hanging up overtakes the request."""

    def ended(*_given, **_named):
        raise error

    custodian = made.plain.custodian
    with custodian.database.read(custodian.row_keys) as session:
        issuer, above = authority_keys.signer(custodian, session)
        chain = authority_keys.chain_of(session, above)
    paths = forged(made, tmp_path, issuer, start_ms=now() - 7200_000, chain=chain)
    monkeypatch.setattr(http.client.HTTPSConnection, "request", ended)
    with (
        contextlib.closing(HttpsPort(made.place, made.world.domain, paths)) as port,
        pytest.raises(NotAuthenticated, match="is over since"),
    ):
        port.ask(Hello())


def test_a_certificate_says_when_it_is_over(made):
    shown = present(made.paths("ana"))
    end = x509.parse(shown.certificate).end_ms / 1000
    assert shown.over(end - 1) is None
    assert "is over since" in str(shown.over(end))


def test_a_revoked_one_ends_on_the_same_connection(made):
    made.enrol("rita")
    port = made.port("rita")
    w.seal(port, "dataset/revoked")
    (line,) = port._transport._idle
    made.revoke("rita")
    with pytest.raises(NotAuthenticated):
        w.open_(port, "dataset/revoked")
    assert port._transport._idle == [line]
    assert "release.denied" in w.kinds(made.plain)


def test_who_is_enrolled_and_has_no_roles(made):
    made.enrol("noah")
    made.plain.ask(SetRoles(f"spiffe://{made.world.domain}/person/noah", (), "test"))
    with pytest.raises(HermeticError) as refused:
        w.seal(made.port("noah"), "dataset/none")
    assert refused.value.exit_code == 3


# what the client believes


def test_a_service_under_another_name(made):
    with made.running(names=("custody.example",)), pytest.raises(Denied, match="no certificate that you believe") as refused:
        made.port("ana").ask(Hello())
    assert "serve --name" in refused.value.hint


def test_a_port_where_nobody_speaks_tls(made):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        place = ServicePlace("127.0.0.1", plain.getsockname()[1])
        answering = threading.Thread(target=answer_plainly, args=(plain,))
        answering.start()
        port = HttpsPort(place, made.world.domain, made.paths("ana"))
        with contextlib.closing(port), pytest.raises(KeyServiceUnavailable, match="does not speak TLS") as refused:
            port.ask(Hello())
        answering.join()
    assert "port" in refused.value.hint


def answer_plainly(listener):
    """Answer one caller as a server of HTTP without TLS does."""
    caller, _ = listener.accept()
    with caller:
        caller.recv(4096)
        caller.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def test_a_service_of_another_authority(made, tmp_path):
    key = x509.AuthorityKey.generate()
    root = x509.root_certificate(key, "other", made.world.domain, x509.Span.of(now(), DAY_S))
    ana = made.paths("ana")
    other = dataclasses.replace(ana, authorities=tmp_path / "authorities.pem")
    other.authorities.write_bytes(x509.to_pem((root,)))
    with contextlib.closing(HttpsPort(made.place, made.world.domain, other)) as port, pytest.raises(Denied):
        port.ask(Hello())


def test_a_renewed_certificate_is_shown_without_a_restart(made):
    made.enrol("rolf")
    port = made.port("rolf")
    port.ask(Hello())
    shown = port._transport._shown
    made.certify("rolf")
    assert version_of(made.paths("rolf")) != shown.version
    port.ask(Hello())
    assert port._transport._shown.certificate != shown.certificate
    assert len(port._transport._idle) == 1


def test_identities_that_cannot_be_used(made, tmp_path):
    ana = made.paths("ana")
    with pytest.raises(ConfigError, match="no identity"):
        HttpsPort(made.place, made.world.domain, dataclasses.replace(ana, chain=tmp_path / "none.pem"))
    copy = tmp_path / "key.pem"
    copy.write_bytes(ana.key.read_bytes())
    copy.chmod(0o644)
    with pytest.raises(Denied, match="read by others"):
        HttpsPort(made.place, made.world.domain, dataclasses.replace(ana, key=copy))
    made.certify("ana", folder=tmp_path / "second")
    with pytest.raises(HermeticError, match="not whole"):
        HttpsPort(made.place, made.world.domain, dataclasses.replace(ana, key=tmp_path / "second" / "key.pem"))


# a service that goes away


def test_a_service_that_is_away(made):
    """What is held goes on as long as its class allows, and not longer; a new request waits with exit code 6."""
    clock = [0]
    with made.running():
        port = made.port("ana")
        _, _ = w.seal(port, "dataset/away")
        opened = w.open_(port, "dataset/away")
        lease = opened.released[0].lease
        held = LeaseHolder(port, clock=lambda: clock[0]).take(lease)
    clock[0] = lease.check_ms + 1
    assert bytes(held.key().view())
    with pytest.raises(KeyServiceUnavailable, match="out of reach") as away:
        port.ask(Hello())
    assert away.value.exit_code == 6
    clock[0] = lease.offline_ms + 1
    with pytest.raises(LeaseEnded, match="out of reach for too long"):
        held.key()


def test_revoking_reaches_a_holder(made):
    clock = [0]
    made.enrol("hugo")
    port = made.port("hugo")
    w.seal(port, "dataset/held")
    lease = w.open_(port, "dataset/held").released[0].lease
    held = LeaseHolder(port, clock=lambda: clock[0]).take(lease)
    made.plain.ask(SetRoles(f"spiffe://{made.world.domain}/person/hugo", (), "left"))
    clock[0] = lease.check_ms + 1
    with pytest.raises((LeaseEnded, Denied)):
        held.key()


# once, however often it is sent


def test_a_lost_answer(made, monkeypatch):
    """The client sends the request again with its key, and gets the answer of the first time; it was done once."""
    real, lost = HttpsTransport._sent, []

    def sent(self, message):
        answer = real(self, message)
        if not lost:
            lost.append(message)
            raise Broken("the answer was lost")
        return answer

    port = made.port("ana")
    draft = w.begin(port, "dataset/twice")
    before = w.kinds(made.plain).count("version.published")
    monkeypatch.setattr(HttpsTransport, "_sent", sent)
    published = port.ask(w.versions.PublishVersion(draft.version, (w.record(),)))
    assert lost[0].key is not None
    assert published.version == draft.version
    assert w.kinds(made.plain).count("version.published") == before + 1


def test_a_network_that_goes_without_a_word(made, monkeypatch):
    """The kernel looks after half a minute of silence, and what it gave up is a connection that broke: asked again."""
    port = made.port("ana")
    port.ask(Hello())
    (line,) = port._transport._idle
    assert all(line.connection.sock.getsockopt(level, option) == value for level, option, value in SILENT)
    real, lost = http.client.HTTPConnection.getresponse, []

    def getresponse(self):
        if not lost:
            lost.append(self)
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        return real(self)

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", getresponse)
    assert port.ask(Hello()).domain == made.world.domain
    assert lost == [line.connection]


def test_what_asks_for_keys_has_no_idempotency(made, monkeypatch):
    def sent(_self, message):
        assert message.key is None
        raise Broken("lost")

    monkeypatch.setattr(HttpsTransport, "_sent", sent)
    monkeypatch.setattr(HttpsTransport, "pauses", (0.0,))
    port = made.port("ana")
    with pytest.raises(KeyServiceUnavailable, match="is not known"):
        w.begin(port, "dataset/unknown")
    with pytest.raises(KeyServiceUnavailable, match="out of reach"):
        w.open_(port, "dataset/unknown")


def test_answers_with_secrets_are_not_kept(made):
    """Neither of requests for keys nor of those for second factors is anything left, whatever key they come with."""
    asking = {name for name, cls in codec.registered().items() if "recipient" in getattr(cls, "__dataclass_fields__", {})}
    assert asking == {"open-versions", "begin-version", "open-scratch", "start-run"}
    assert set(codec.registered()) >= SECRET
    port = made.port("ana")
    with made.plain.custodian.database.read(made.plain.custodian.row_keys) as session:
        before = len(list(session.scan(tables.answered)))
    w.seal(port, "dataset/kept")  # begun, which has keys, and published, which is kept
    w.open_(port, "dataset/kept")
    raw = codec.encode(BeginWebauthn(adding=False, port=8000))
    call(made, "ana", "/v1/begin-webauthn", raw, headers={"Idempotency-Key": "key-00000009"})
    with made.plain.custodian.database.read(made.plain.custodian.row_keys) as session:
        assert len(list(session.scan(tables.answered))) == before + 1


def test_idempotency_keys(made):
    def abandon(version, key):
        raw = codec.encode(w.versions.AbandonVersion(version))
        status, _, text = call(made, "ana", "/v1/abandon-version", raw, headers={"Idempotency-Key": key})
        return status, text

    port = made.port("ana")
    one, two = (w.begin(port, "dataset/draft").version for _ in range(2))
    first = abandon(one, "key-00000001")
    assert first[0] == 200, first
    count = len(w.kinds(made.plain))
    assert abandon(one, "key-00000001") == first
    assert len(w.kinds(made.plain)) == count
    assert abandon(two, "key-00000001")[0] == 409
    assert abandon(two, "no key!")[0] == 422


def test_once(made):
    """Of two with one key one is told; a refusal may be tried again; what may have been done is not done again."""
    custodian = made.plain.custodian
    told = []

    def inner():
        with pytest.raises(Conflict, match="has begun"):
            repeating.once(custodian, ("p", "key-0000000a"), b"x", lambda: b"never")
        return b"done"

    assert repeating.once(custodian, ("p", "key-0000000a"), b"x", inner) == b"done"
    assert repeating.once(custodian, ("p", "key-0000000a"), b"x", inner) == b"done"
    assert repeating.once(custodian, ("q", "key-0000000a"), b"y", lambda: b"another's") == b"another's"
    with pytest.raises(UsageError):
        repeating.once(custodian, ("p", "short"), b"x", inner)

    def fails(error):
        told.append(error)
        raise error

    with pytest.raises(NotFound):
        repeating.once(custodian, ("p", "key-0000000b"), b"x", lambda: fails(NotFound("no")))
    assert repeating.once(custodian, ("p", "key-0000000b"), b"x", lambda: b"now") == b"now"
    for error in (StorageError("disk"), ValueError("defect")):
        with pytest.raises(type(error)):
            repeating.once(custodian, ("p", f"key-{type(error).__name__}"), b"x", lambda error=error: fails(error))
        with pytest.raises(Conflict, match="not known"):
            repeating.once(custodian, ("p", f"key-{type(error).__name__}"), b"x", lambda: b"never")
    assert len(told) == 3


def test_kept_answers_are_few_and_old_ones_go(made, monkeypatch):
    custodian, at = made.plain.custodian, [now()]
    monkeypatch.setattr(repeating, "MOST", 3)
    monkeypatch.setattr(custodian, "clock", lambda: at[0])
    for number in range(5):
        at[0] += 1
        repeating.once(custodian, ("few", f"key-{number:08}"), b"x", lambda: b"old")
    assert repeating.once(custodian, ("few", "key-00000004"), b"x", lambda: b"new") == b"old"
    assert repeating.once(custodian, ("few", "key-00000000"), b"x", lambda: b"new") == b"new"
    at[0] += repeating.KEPT_MS
    assert repeating.once(custodian, ("few", "key-00000004"), b"x", lambda: b"new") == b"new"


def test_what_is_at_work_does_not_go_for_newer_ones(made, monkeypatch):
    """A long request among many short ones of the same caller: its answer is kept, and it is not done a second time."""
    custodian, at = made.plain.custodian, [now()]
    monkeypatch.setattr(repeating, "MOST", 3)
    monkeypatch.setattr(custodian, "clock", lambda: at[0])

    def long():
        for number in range(6):
            at[0] += 1
            repeating.once(custodian, ("busy", f"key-{number:08}"), b"x", lambda: b"short")
        return b"long"

    assert repeating.once(custodian, ("busy", "key-long"), b"x", long) == b"long"
    assert repeating.once(custodian, ("busy", "key-long"), b"x", lambda: b"again") == b"long"
