"""Tokens for certificates, through the real listener for logins and with an issuer behind real HTTPS."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import pytest

from hermetic.access import credentials
from hermetic.access.tokens import key_nonce
from hermetic.crypto import x509
from hermetic.domain import oidc_fetch, oidc_settings
from hermetic.domain.login_service import LIMIT, LoginCustody
from hermetic.errors import ConfigError, Denied, StorageError
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import EnrolIdentity, ExchangeToken, RenewCertificate, ShowIdentity
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import SetRoles
from hermetic.server import login
from hermetic.server.http_limits import Limits
from tests import world as w
from tests.unit.server import https_world as hw
from tests.unit.server.oidc_issuer import issuer

RULES = [
    {"name": "ci", "claims": {"repository": "clinic/train", "ref": "refs/heads/main"}},
    {"name": "gone", "claims": {"repository": "clinic/gone"}},
    {"name": "nobody", "claims": {"repository": "clinic/nobody"}},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A service with its listener for logins, an issuer of people and one of workloads."""
    folder = tmp_path_factory.mktemp("login")
    world = hw.make(folder / "world")
    for name, kind, roles in (
        ("ben", "person", ("ml-engineer",)),
        ("ci", "workload", ("service",)),
        ("gone", "workload", ("service",)),
    ):
        world.plain.ask(EnrolIdentity(name, kind, roles, "test"))
    world.plain.ask(EnrolIdentity("olga", "person", ("domain-owner",), "test"))
    world.plain.ask(SetRoles("gone", (), "left"))
    with issuer(folder / "people") as people, issuer(folder / "work") as work:
        trusted = oidc_settings.read(
            [
                settings(people, "person", [{"name": name, "claims": {"sub": name}} for name in ("ben", "olga")]),
                settings(work, "workload", RULES),
            ],
            "config.yaml",
        )
        world.plain.custodian.tokens = oidc_fetch.desk(trusted)
        custody = LoginCustody(world.plain, world.custody)
        with listening(custody) as server, world.running():
            yield SimpleNamespace(world=world, people=people, work=work, custody=custody, server=server)
    world.close()


def settings(found, kind, principals):
    return {"issuer": found.url, "audience": "hermetic", "kind": kind, "principals": principals, "authority": str(found.authority)}


@contextlib.contextmanager
def listening(custody, **limits):
    """The listener, with limits that tests do not meet by chance."""
    given = {"rate": 1000.0, "burst": 1000.0, "stop_s": 3.0} | limits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            login, "LIMITS", Limits(**{name: given.get(name, getattr(login.LIMITS, name)) for name in login.LIMITS.__slots__})
        )
        patch.setattr(login, "IN_ALL", (given["rate"], given["burst"]))
        with login.LoginServer(custody, ("127.0.0.1", 0), names=("localhost", "127.0.0.1")) as server:
            ready = threading.Event()
            thread = threading.Thread(target=server.serve, args=(ready.set,))
            thread.start()
            assert ready.wait(20)
            try:
                yield server
            finally:
                server.close()
                thread.join(30)
                assert not thread.is_alive()


def post(server, raw, name="exchange-token", **headers):
    """One message on a connection without a certificate; returns (status, headers, body)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", server.address[1], timeout=20, context=context)
    with contextlib.closing(connection):
        connection.request("POST", f"/v1/{name}", raw, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def request(made, name, kind="workload"):
    uri = f"spiffe://{made.world.world.domain}/{kind}/{name}"
    key, csr = x509.new_request(uri)
    return SimpleNamespace(uri=uri, key=key, csr=csr, public=x509.parse_request(csr).public)


def exchange(made, token, csr, server=None):
    status, _, body = post(server or made.server, codec.encode(ExchangeToken(token, csr)))
    answer = codec.decode(body)
    return (status, answer.error, answer.message) if isinstance(answer, Refusal) else answer


def of_ci(made, **more):
    return made.work.token(
        **({"sub": "x", "repository": "clinic/train", "ref": "refs/heads/main", "jti": secrets.token_hex(8)} | more)
    )


def test_a_workload_gets_a_certificate_and_works_with_it(made):
    asked = request(made, "ci")
    got = exchange(made, of_ci(made), asked.csr)
    assert (got.principal, x509.parse(got.chain[0]).public) == (asked.uri, asked.public)
    left = got.not_after_ms - hw.now()
    assert 200_000 < left <= 900_000, "not longer than the token, nor a quarter of an hour"
    hw.write(made.world.world.root / "identity" / "ci", got.chain, asked.key, got.authorities)
    assert made.world.port("ci").ask(Hello()).domain == made.world.world.domain
    with pytest.raises(Denied, match="not renewed"):
        made.world.port("ci").ask(RenewCertificate(request(made, "ci").csr))


def test_a_person_logs_in_with_a_token_that_was_asked_for_with_this_key(made):
    asked = request(made, "ben", "person")
    got = exchange(made, made.people.token(sub="ben", nonce=key_nonce(asked.public)), asked.csr)
    assert got.principal == asked.uri


def test_a_token_is_used_once_but_an_answer_that_got_lost_is_given_again(made):
    token, asked = of_ci(made), request(made, "ci")
    first = exchange(made, token, asked.csr)
    assert exchange(made, token, asked.csr) == first
    status, error, message = exchange(made, token, request(made, "ci").csr)
    assert (status, error) == (401, "NotAuthenticated")
    assert "used before" in message
    status, _, message = exchange(made, of_ci(made), asked.csr)
    assert status == 409, "a key that had a certificate gets no second one"
    found = made.world.plain.ask(ShowIdentity("ci"))
    assert {row.state for row in found.credentials if row.kind == credentials.TOKEN} == {credentials.USED}


def test_of_two_that_bring_one_token_at_once_one_gets_in(made):
    token, found = of_ci(made), []
    asked = [request(made, "ci").csr for _ in range(2)]
    threads = [threading.Thread(target=lambda csr=csr: found.append(exchange(made, token, csr))) for csr in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(isinstance(item, tuple) for item in found) == [False, True]


REFUSED = {
    "another audience": (401, lambda made: (of_ci(made, aud="other"), request(made, "ci").csr)),
    "another issuer": (401, lambda made: (of_ci(made, iss="https://evil.example"), request(made, "ci").csr)),
    "an issuer of people for a workload": (401, lambda made: (made.people.token(sub="ci"), request(made, "ci").csr)),
    "expired": (401, lambda made: (of_ci(made, exp=int(time.time()) - 61, iat=int(time.time()) - 300), request(made, "ci").csr)),
    "another branch": (401, lambda made: (of_ci(made, ref="refs/heads/x"), request(made, "ci").csr)),
    "somebody else's name in the request": (403, lambda made: (of_ci(made), request(made, "gone").csr)),
    "a name of the same letters and another kind": (403, lambda made: (of_ci(made), request(made, "ci", "person").csr)),
    "a principal who is not enrolled": (401, lambda made: (of_ci(made, repository="clinic/nobody"), request(made, "nobody").csr)),
    "a principal who is disabled": (401, lambda made: (of_ci(made, repository="clinic/gone"), request(made, "gone").csr)),
    "no request": (422, lambda made: (of_ci(made), b"no request")),
    "no token": (422, lambda made: ("no token", request(made, "ci").csr)),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_who_is_not_let_in(made, what):
    status, of = REFUSED[what]
    before = len(made.world.plain.ask(ShowIdentity("ci")).credentials)
    got = exchange(made, *of(made))
    assert isinstance(got, tuple)
    assert got[0] == status, got
    assert len(made.world.plain.ask(ShowIdentity("ci")).credentials) == before


def test_a_person_needs_the_nonce_of_the_very_key(made):
    mine, theirs = request(made, "ben", "person"), request(made, "ben", "person")
    token = made.people.token(sub="ben", nonce=key_nonce(mine.public))
    assert exchange(made, token, theirs.csr)[:2] == (401, "NotAuthenticated")
    assert exchange(made, made.people.token(sub="ben"), mine.csr)[:2] == (401, "NotAuthenticated")
    assert exchange(made, token, mine.csr).principal == mine.uri, "and a refusal uses nothing up"


def test_nobody_becomes_a_domain_owner_by_a_token(made):
    asked = request(made, "olga", "person")
    got = exchange(made, made.people.token(sub="olga", nonce=key_nonce(asked.public)), asked.csr)
    assert got[:2] == (403, "Denied")


def test_this_listener_answers_nothing_else_and_the_main_one_takes_no_token(made):
    status, _, body = post(made.server, codec.encode(Hello()), "hello")
    assert (status, codec.decode(body).error) == (404, "NotFound")
    assert post(made.server, codec.encode(Hello()))[0] == 422
    made.world.enrol("eva")
    status, _, body = hw.call(
        made.world, "eva", "/v1/exchange-token", codec.encode(ExchangeToken(of_ci(made), request(made, "ci").csr))
    )
    assert (status, codec.decode(body).error) == (422, "UsageError")
    with pytest.raises((ssl.SSLError, ConnectionError)), contextlib.closing(hw.channel(made.world)) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.recv(1) == b"", "the main listener asks for a certificate as before"
        raise ConnectionError


def test_what_is_too_large_is_not_read(made):
    raw = codec.encode(ExchangeToken("a" * LIMIT, b""))
    assert post(made.server, raw)[0] == 413
    assert exchange(made, "a" * 20_000, request(made, "ci").csr)[0] == 422


def test_each_address_has_a_rate(made):
    with listening(made.custody, rate=0.01, burst=3.0) as server:
        found = [post(server, b"{}") for _ in range(5)]
    assert [status for status, _, _ in found[:3]] == [422] * 3
    assert {status for status, _, _ in found[3:]} <= {429, 503}
    assert any(int(headers["retry-after"]) >= 1 for status, headers, _ in found if status in {429, 503})


def test_older_tls_is_refused(made):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(made.server.address, timeout=20) as peer, pytest.raises(ssl.SSLError):
        context.wrap_socket(peer)


def test_an_issuer_that_is_away_redirects_or_sends_too_much(made, tmp_path):
    with issuer(tmp_path / "one") as found:
        fetch = oidc_fetch.fetcher(found.authority)
        assert json.loads(fetch(f"{found.url}/jwks"))["keys"]
        found.padding = oidc_fetch.LIMIT
        with pytest.raises(StorageError, match="more than"):
            fetch(f"{found.url}/jwks")
        found.redirect = f"{made.work.url}/jwks"
        asked = list(made.work.asked)
        with pytest.raises(StorageError, match="302"):
            fetch(f"{found.url}/jwks")
        assert made.work.asked == asked
        with pytest.raises(StorageError, match="verify"):
            oidc_fetch.fetcher(made.work.authority)(f"{found.url}/jwks")
        trusted = oidc_settings.read([settings(found, "workload", RULES)], "config.yaml")
        token = found.token(repository="clinic/train", ref="refs/heads/main")
    with pytest.raises(StorageError):
        fetch(f"{found.url}/jwks")
    before, made.world.plain.custodian.tokens = made.world.plain.custodian.tokens, oidc_fetch.desk(trusted)
    try:
        assert exchange(made, token, request(made, "ci").csr)[:2] == (503, "KeyServiceUnavailable")
    finally:
        made.world.plain.custodian.tokens = before


def test_what_was_exchanged_and_refused_is_on_record(made):
    port, asked, token = made.world.plain, request(made, "ci"), of_ci(made)
    got = exchange(made, token, asked.csr)
    exchange(made, of_ci(made, ref="refs/heads/y"), asked.csr)
    exchange(made, "rubbish", asked.csr)
    found = [row for row in w.leaves(port) if row[0].startswith("token.")]
    _, facts, opened = [row for row in found if row[0] == "token.exchanged"][-1]
    assert (facts["credential"], facts["principal"]) == (got.credential, asked.uri)
    assert "refs/heads/main" in opened["claims"]
    refused = [(facts, opened) for kind, facts, opened in found if kind == "token.refused"]
    assert {"NotAuthenticated", "FormatError"} <= {facts["error"] for facts, _ in refused}
    assert any("refs/heads/y" in opened.get("claims", "") for _, opened in refused)
    assert all(set(opened) == {"message"} for facts, opened in refused if facts["issuer"] is None), "what nobody signed is not kept"
    assert token.rpartition(".")[2] not in str(found)
    assert {pair.name for pair in port.ask(VerifyLog()).findings} <= {"log-key-first-use", "log-never-anchored"}


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://issuer.example"},
        {"issuer": "https://me@issuer.example"},
        {"kind": "robot"},
        {"audience": ""},
        {"principals": []},
        {"principals": [{"name": "a/b", "claims": {"sub": "x"}}]},
        {"principals": [{"name": "a", "claims": {}}]},
        {"principals": [{"name": "a", "claims": {"sub": ["x"]}}]},
        {"principals": [{"name": "a", "claims": {"sub": ""}}]},
        {"maximum_age": 0},
        {"maximum_age": True},
        {"jwks": "http://issuer.example/jwks"},
        {"authority": "issuer.pem"},
        {"secret": "x"},
    ],
)
def test_settings_that_make_no_sense(changes):
    good = {
        "issuer": "https://issuer.example",
        "audience": "hermetic",
        "kind": "person",
        "principals": [{"name": "a", "claims": {"sub": "x"}}],
    }
    assert oidc_settings.read([good], "config.yaml")
    with pytest.raises(ConfigError):
        oidc_settings.read([good | changes], "config.yaml")
    with pytest.raises(ConfigError):
        oidc_settings.read([good, good], "config.yaml")
