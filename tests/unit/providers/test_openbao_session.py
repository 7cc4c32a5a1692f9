"""Logins, tokens that end, and answers of a transit engine that no real server gives on demand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, IntegrityError, KeyServiceUnavailable, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import registry
from hermetic.providers.openbao_wrap import joined
from tests.unit.providers.openbao_stand_in import stand_in

KEY = {
    "type": "aes256-gcm96",
    "derived": True,
    "exportable": False,
    "allow_plaintext_backup": False,
    "convergent_encryption": False,
    "deletion_allowed": False,
    "soft_deleted": False,
    "latest_version": 1,
}
INFO = (200, {"data": KEY})
DENIED = (403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
CIPHERTEXT = "vault:v1:" + "QUJD" * 20
WRAP = joined(CIPHERTEXT, b"s" * 60).encode()


def told(ttl=3600, *, renewable=True):
    return (200, {"data": {"ttl": ttl, "renewable": renewable, "policies": ["hermetic"]}})


def logged_in(token, ttl=3600, *, renewable=True):
    return (200, {"auth": {"client_token": token, "lease_duration": ttl, "renewable": renewable, "policies": ["hermetic"]}})


@pytest.fixture
def secret_file(tmp_path):
    def write(text, name="token"):
        path = tmp_path / name
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def opened(place, secret_file):
    """Open a root at a stand-in; by token unless settings say otherwise."""

    def open_(server, **settings):
        given = settings or {"token_file": secret_file("s.one\n")}
        provider = registry.open_provider("openbao:transit/k", replace(place, settings={"address": server.address, **given}))
        provider.key.session.client._pause = lambda seconds: None
        return provider

    return open_


def asked(server):
    return [(method, path.removeprefix("/v1/"), headers.get("X-Vault-Token")) for method, path, headers, _ in server.asked]


def test_a_token_from_a_file(opened):
    with stand_in(told(), INFO) as server:
        assert opened(server).status().state is ProviderState.READY
    assert asked(server) == [("GET", "auth/token/lookup-self", "s.one"), ("GET", "transit/keys/k", "s.one")]


def test_it_is_renewed_after_two_thirds(opened, clock):
    with stand_in(told(), INFO, INFO, logged_in("s.one"), INFO) as server:
        provider = opened(server)
        provider.status()
        clock.advance(2_399_000)
        provider.status()
        assert [path for _, path, _ in asked(server)].count("auth/token/renew-self") == 0
        clock.advance(2_000)
        assert provider.status().state is ProviderState.READY
    assert asked(server)[3:] == [("POST", "auth/token/renew-self", "s.one"), ("GET", "transit/keys/k", "s.one")]


def test_one_that_cannot_be_renewed_goes_to_its_end(opened, clock, secret_file):
    with stand_in(told(), INFO, (400, {"errors": ["lease is not renewable"]}), INFO, INFO, told(), INFO) as server:
        provider = opened(server)
        provider.status()
        clock.advance(2_500_000)
        provider.status()
        provider.status()
        assert [path for _, path, _ in asked(server)].count("auth/token/renew-self") == 1
        clock.advance(1_100_000)
        secret_file("s.two")  # what an agent writes there counts
        provider.status()
    assert asked(server)[-2:] == [("GET", "auth/token/lookup-self", "s.two"), ("GET", "transit/keys/k", "s.two")]


def test_a_token_without_end_is_left_alone(opened, clock):
    with stand_in(told(0), INFO) as server:
        provider = opened(server)
        for _ in range(3):
            provider.status()
            clock.advance(10**9)
    assert [path for _, path, _ in asked(server)].count("auth/token/lookup-self") == 1


def test_a_revoked_token_is_replaced_and_the_call_repeated(opened, secret_file):
    with stand_in(told(), DENIED, DENIED, told(), INFO) as server:
        provider = opened(server)
        provider.key.session.token()
        secret_file("s.two")
        assert provider.status().state is ProviderState.READY
    assert asked(server)[1:] == [
        ("GET", "transit/keys/k", "s.one"),
        ("GET", "auth/token/lookup-self", "s.one"),
        ("GET", "auth/token/lookup-self", "s.two"),
        ("GET", "transit/keys/k", "s.two"),
    ]


def test_who_is_denied_does_not_log_in_again(opened, secret_file):
    """A secret id may be good for one login only."""
    files = {"auth": "approle", "role_id": "r", "secret_id_file": secret_file("once", "secret-id")}
    with (
        stand_in(logged_in("s.app"), DENIED, told()) as server,
        pytest.raises(KeyServiceUnavailable, match="denies this login to read with transit key transit/k") as caught,
    ):
        opened(server, **files).wrap(Secret(b"x"), b"")
    assert 'path "transit/keys/k" { capabilities = ["read"] }' in caught.value.hint
    assert [path for _, path, _ in asked(server)] == ["auth/approle/login", "transit/keys/k", "auth/token/lookup-self"]
    assert json.loads(server.asked[0][3]) == {"role_id": "r", "secret_id": "once"}


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"errors": ["invalid role or secret ID"]}),
        DENIED,
        (200, {"auth": None}),
        (200, {"auth": {"client_token": ""}}),
        (200, {"auth": {"client_token": 7}}),
        (200, {}),
    ],
)
def test_logins_that_fail(opened, answer):
    with stand_in(answer) as server:
        with pytest.raises(KeyServiceUnavailable, match="refuses the login by approle"):
            opened(server, auth="approle", role_id="r").wrap(Secret(b"x"), b"")
        assert opened(server, auth="approle", role_id="r").status().state is ProviderState.UNREACHABLE


def test_secret_files(opened, tmp_path, secret_file):
    with stand_in(told()) as server:
        with pytest.raises(KeyServiceUnavailable, match="does not exist"):
            opened(server, token_file=str(tmp_path / "none")).wrap(Secret(b"x"), b"")
        for text in ("", "\n", "two\nlines", "with space", "x" * 20_000):
            with pytest.raises(IntegrityError):
                opened(server, token_file=secret_file(text)).wrap(Secret(b"x"), b"")
        open_to_all = tmp_path / "open"
        open_to_all.write_text("s.one")
        open_to_all.chmod(0o644)
        with pytest.raises(IntegrityError, match="is open to other users"):
            opened(server, token_file=str(open_to_all)).wrap(Secret(b"x"), b"")
        link = tmp_path / "link"
        link.symlink_to(secret_file("s.one"))
        with pytest.raises(IntegrityError, match="symbolic link"):
            opened(server, token_file=str(link)).wrap(Secret(b"x"), b"")
    assert server.asked == []


BATCHES = [
    {},
    {"data": None},
    {"data": {"batch_results": "x"}},
    {"data": {"batch_results": []}},
    {"data": {"batch_results": [{"plaintext": "AAAA"}] * 3}},
    {"data": {"batch_results": ["x"] * 2}},
    {"data": {"batch_results": [{}] * 2}},
    {"data": {"batch_results": [{"plaintext": ""}] * 2}},
    {"data": {"batch_results": [{"plaintext": 7}] * 2}},
    {"data": {"batch_results": [{"plaintext": "AAAA"}] * 2}},
    {"data": {"batch_results": [{"plaintext": "no base64"}] * 2}},
]


@pytest.mark.parametrize("body", BATCHES)
def test_batches_that_make_no_sense(opened, body):
    with stand_in(told(), (200, body)) as server:
        try:
            results = opened(server).unwrap_many([(WRAP, b"")] * 2)
        except FormatError:
            return
    assert [type(result) for result in results] == [FormatError] * 2


@pytest.mark.parametrize(
    "data", [None, {}, [], "x", {"plaintext": 7}, {"plaintext": ""}, {"plaintext": "AAAA"}, {"plaintext": "no base64"}]
)
def test_answers_that_make_no_sense(opened, data):
    with stand_in(told(), (200, {"data": data})) as server, pytest.raises(FormatError):
        opened(server).unwrap(WRAP, b"")


def test_a_key_that_the_server_made_up_opens_nothing(opened):
    with stand_in(told(), (200, {"data": {"plaintext": "QUJD" * 10 + "QUI="}})) as server, pytest.raises(WrongKey):
        opened(server).unwrap(WRAP, b"")


@pytest.mark.parametrize("text", ["vault:v0:" + "QUJD" * 20, "vault:v1:AAAA", "hashed", CIPHERTEXT + "="])
def test_ciphertexts_that_make_no_sense(opened, text):
    with stand_in(told(), INFO, (200, {"data": {"ciphertext": text}})) as server, pytest.raises(FormatError):
        opened(server).wrap(Secret(b"x"), b"")


def test_an_answer_behind_an_approval(opened):
    held = (200, {"wrap_info": {"token": "s.wrapped", "ttl": 600}, "data": None})
    with stand_in(told(), held) as server, pytest.raises(KeyServiceUnavailable, match="only when others have approved") as caught:
        opened(server).unwrap(WRAP, b"")
    assert "control_group" in caught.value.hint


def test_rewrap_never_goes_back(opened):
    newer = joined("vault:v5:" + "QUJD" * 20, b"s" * 60).encode()
    with stand_in(told(), INFO, (200, {"data": {"ciphertext": CIPHERTEXT}})) as server:
        (result,) = opened(server).rewrap_many([(newer, b"")])
    assert isinstance(result, FormatError)


@pytest.mark.parametrize("missing", sorted(set(KEY) - {"soft_deleted"}))
def test_a_key_of_which_little_is_said_is_no_root(opened, missing):
    """Vault of long ago, or something in between: what is not said is taken for the worse."""
    with stand_in(told(), (200, {"data": {name: value for name, value in KEY.items() if name != missing}})) as server:
        provider = opened(server)
        if missing == "deletion_allowed":
            assert provider.status().findings[0].code == "openbao-deletion-allowed"
        else:
            with pytest.raises(IntegrityError):
                provider.wrap(Secret(b"x"), b"")


def batch(handler):
    """A server that refuses the whole batch for one bad item, as older ones do."""
    asked = json.loads(handler.server.asked[-1][3])
    items = asked.get("batch_input", [asked])
    done = {"ciphertext": CIPHERTEXT}
    body = {"data": {"batch_results": [done] * len(items)} if "batch_input" in asked else done}
    if bad := any("vault:v9:" in item["ciphertext"] for item in items):
        body = {"errors": ["invalid ciphertext: version is too new"]}
    raw = json.dumps(body).encode()
    handler.send_response(500 if bad else 200)
    handler.send_header("Content-Length", str(len(raw)))
    handler.end_headers()
    handler.wfile.write(raw)


def test_a_batch_refused_as_a_whole_is_halved(opened):
    bad = joined("vault:v9:" + "QUJD" * 20, b"s" * 60).encode()
    wraps = [(bad if number in {3, 77} else WRAP, b"") for number in range(100)]
    with stand_in(told(), INFO, batch) as server:
        results = opened(server).rewrap_many(wraps)
    assert [number for number, result in enumerate(results) if isinstance(result, HermeticError)] == [3, 77]
    assert isinstance(results[3], WrongKey)
    assert len(server.asked) < 40


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {"errors": ["encryption key not found"]}), "was deleted"),
        ((404, {"errors": ['no handler for route "transit/decrypt/k"']}), "has no transit engine at transit"),
        ((413, {"errors": ["too large"]}), "takes only smaller requests"),
        ((400, {"errors": ["exceeded maximum number of strings"]}), "takes only smaller requests"),
        ((500, {"errors": ["internal error"]}), "cannot decrypt with transit/k: internal error"),
        ((405, {}), "cannot decrypt with transit/k: 405"),
    ],
)
def test_refusals(opened, answer, words):
    with stand_in(told(), answer) as server, pytest.raises(KeyServiceUnavailable, match=words):
        opened(server).unwrap(WRAP, b"")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("cipher: message authentication failed", WrongKey),
        ("invalid ciphertext length", WrongKey),
        ("ciphertext or signature version is disallowed by policy (too old)", KeyServiceUnavailable),
        ("refusing to use soft-deleted key", KeyServiceUnavailable),
        ("something\x1b new", KeyServiceUnavailable),
    ],
)
def test_errors_of_items(opened, problem, kind):
    results = [{"plaintext": "", "error": problem}] * 2
    with stand_in(told(), (400, {"data": {"batch_results": results}}), (400, {"errors": [problem]})) as server:
        provider = opened(server)
        found = provider.unwrap_many([(WRAP, b"")] * 2)
        with pytest.raises(kind) as caught:
            provider.unwrap(WRAP, b"")
    assert [type(error) for error in (*found, caught.value)] == [kind] * 3
    assert not any("\x1b" in str(error) for error in (*found, caught.value))


def test_no_token_in_errors_and_reprs(opened):
    with stand_in(told(), DENIED, told()) as server:
        provider = opened(server)
        with pytest.raises(KeyServiceUnavailable) as caught:
            provider.wrap(Secret(b"x"), b"")
        shown = [
            repr(provider),
            repr(provider.key),
            repr(provider.key.session.token()),
            repr(provider.key.session._login),
            caught.value.diagnostics(),
        ]
    assert not any("s.one" in text for text in shown)


def test_a_server_that_says_secrets_back(opened, secret_file):
    """What it was sent must not come into a message, and so into a log."""
    secret = "6a7f2c1e-0a6b-f3f4-6f37-5c4be1c28b4f"
    files = {"auth": "approle", "role_id": "r", "secret_id_file": secret_file(secret, "secret-id")}
    with stand_in((400, {"errors": [f"no such secret id {secret}"]})) as server:
        with pytest.raises(KeyServiceUnavailable, match="refuses the login") as caught:
            opened(server, **files).wrap(Secret(b"x"), b"")
        status = opened(server, **files).status()
    assert secret not in caught.value.diagnostics() + status.detail


def test_a_server_that_says_keys_back(opened):
    def echo(handler):
        sent = json.loads(handler.server.asked[-1][3])["plaintext"]
        raw = json.dumps({"errors": [f"cannot take {sent}"]}).encode()
        handler.send_response(400)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    with stand_in(told(), INFO, echo) as server, pytest.raises(KeyServiceUnavailable, match="cannot take") as caught:
        opened(server).wrap(Secret(b"x"), b"")
    assert json.loads(server.asked[-1][3])["plaintext"][:20] not in caught.value.diagnostics()
